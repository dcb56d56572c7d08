// The first screen, findings, another run, and what is not counted.

function showRun(run) {
  const meta = [`${run.took} on ${run.where}`, run.when, ...run.profiles];
  document.title = `${run.subject} - iotrace`;
  document.getElementById("main").append(
    make(
      "div",
      { class: "hero" },
      make("h1", { dir: "ltr" }, run.subject),
      make("p", { class: "meta" }, meta.map((each) => make("span", {}, each))),
      make("p", { class: `state${run.complete ? "" : " bad"}` }, make("span", {}, run.completeness)),
      run.warnings.map((each) => make("p", { class: "notice" }, each)),
    ),
  );
}

function showCards(cards, run, against) {
  const made = make("div", { class: "cards", id: "summary" });
  for (const card of cards) {
    made.append(
      make(
        "article",
        { class: `panel card ${card.key}`, "aria-label": card.title },
        make("h2", {}, card.title),
        make("p", { class: "value" }, card.value),
        make("p", { class: "beside" }, card.beside, against && make("span", { class: "before" }, `before: ${against.cards[card.key]}`)),
        figures(card.figures, "figures"),
      ),
    );
  }
  const meanings = cards.flatMap((card) => card.figures.map((each) => [`${card.title}: ${each.label}`, each.meaning]));
  document.getElementById("main").append(
    made,
    make("details", { class: "behind meanings" }, make("summary", {}, "What these figures mean"),
      table("Figures", [["Figure", ""], ["Meaning", "meaning"]], meanings)),
    make("div", { class: "notes" }, run.errors.map((each) => make("p", {}, each))),
  );
  document.getElementById("nav").append(make("a", { href: "#summary" }, "Summary"));
}

const OPEN = 4; // findings that stand open, the most severe

function finding(each) {
  const files = each.files.map((file) => make("li", {}, make("button", { class: "quiet", type: "button", onclick: () => lookUp(file) }, path(file))));
  const line = (title, text) => make("div", {}, make("dt", {}, title), make("dd", {}, text));
  return make(
    "article",
    { class: "finding" },
    make("p", { class: `badge ${each.severity}` }, each.severity),
    make("div", {},
      make("h3", {}, each.sentence),
      make("ul", {}, files, each.more > 0 && make("li", { class: "soft" }, `and ${counted(each.more, "more file")}`)),
      make("dl", {}, line("Do", each.advice), line("But not if", each.disproof))),
    make("p", { class: "rule" }, each.rule),
  );
}

function showFindings(findings) {
  const lead = findings.length ? null : "None of the rules holds for this run.";
  const made = make("div", { class: "panel findings" }, findings.slice(0, OPEN).map(finding));
  const rest = findings.slice(OPEN);
  if (rest.length) made.append(make("details", { class: "behind" }, make("summary", {}, `and ${counted(rest.length, "more finding")}`), rest.map(finding)));
  section("findings", "Findings", lead, findings.length > 0 && made);
}

function showAgainst(against) {
  const side = (title, one) =>
    make("div", { class: "panel" }, make("h3", {}, title), make("p", {}, path(one.profile)),
      make("p", { class: "soft" }, one.subject),
      make("p", { class: "soft" }, `${one.took}, ${one.files}, ${one.calls}`), one.lost && make("p", { class: "notice" }, one.lost));
  const columns = [["", ""], ["", ""], ["before", "n"], ["after", "n"], ["change", "n"], ["meaning", "meaning medium-up"]];
  let family = "";
  const rows = against.figures.map((each) => {
    const title = each.family === family ? "" : each.family;
    family = each.family;
    return [make("b", {}, title), each.label, each.before, each.after, each.told ? make("b", {}, each.change) : each.change, each.meaning];
  });
  const files = against.entries.map((each) => [path(each.name), each.before, each.after, each.change]);
  const counts = against.counts.map(([count, what]) => `${grouped(count)} ${what}`).join(", ");
  section(
    "against",
    "Against another run",
    "A change in bold is more than chance would do; (+2%) may be chance, and few: so many calls are too few to tell.",
    against.same && make("p", { class: "notice" }, `The same run is in both profiles (${against.same}).`),
    make("div", { class: "sides" }, side("Before", against.before), side("After", against.after)),
    make("div", { class: "panel scroll-x", tabindex: "0", role: "group", "aria-label": "Figures of both runs" }, table("Figures of both runs", columns, rows)),
    make("p", { class: "notes" }, `Files: ${counts || "none"}.`),
    files.length > 0 && make("div", { class: "panel scroll", tabindex: "0", role: "region", "aria-label": "Files that changed most" },
      table(`Files that changed most, by ${against.per}`, [["file", "name"], ["before", "n"], ["after", "n"], ["change", "n"]], files)),
  );
}

function showAbout(about, run) {
  const partial = about.coverage.filter(([, how]) => how !== "full");
  const full = about.coverage.filter(([, how]) => how === "full").map(([what]) => what);
  const lost = about.lost.filter(([, count]) => count > 0).map(([what, count]) => [what, grouped(count)]);
  const lines = partial.map(([what, how]) => [what, how]);
  if (full.length) lines.push([full.join(", "), "all of it"]);
  section(
    "about",
    "What is counted",
    `${run.completeness}. Page by iotrace ${run.version}.`,
    make("div", { class: "panel about" }, figures(about.facts, "facts")),
    lines.length > 0 && make("div", { class: "panel below" }, table("Coverage: how much of what there is was seen", [["what", ""], ["how much", ""]], lines)),
    lost.length > 0 && make("div", { class: "panel below" }, table("Lost: what was seen and could not be recorded", [["what", ""], ["count", "n"]], lost)),
  );
}

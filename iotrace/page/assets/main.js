// The page, from top to bottom.

async function begin() {
  showRun(summary.run);
  showCards(summary.cards, summary.run, summary.against);
  showFindings(summary.findings);
  if (summary.against) showAgainst(summary.against);
  if (typeof DecompressionStream === "undefined") {
    document.getElementById("main").append(make("p", { class: "notice" }, "This browser is too old to unpack the files of this page; one of 2023 or later shows them."));
  } else {
    const files = new Files(await unpack(read("listing")));
    const opened = records.open();
    await startWhere(files);
    if (summary.series) await showMoments(summary.series);
    startTable(files);
    await opened;
  }
  showAbout(summary.about, summary.run);
  document.documentElement.dataset.ready = "true";
}

begin();

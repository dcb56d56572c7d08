// Where: the directories, by size; a click, or a line of the list beside it, goes down.

const TILES = 40; // that a directory is divided into; the smaller ones are one tile together
const MOST_TILES = 260; // in all, directories that are shown with what is in them included
const DEEPEST = 4;
const LEAST = 0.004; // of the whole, from which on a directory is shown with what is in it

const where = { files: null, directory: 0, metric: "bytes" };

// The largest parts, and one for all others.
function largest(parts, most) {
  const listed = parts.filter((part) => part.value > 0);
  if (listed.length <= most) return listed;
  const rest = listed.slice(most - 1);
  const value = rest.reduce((sum, part) => sum + part.value, 0);
  return [...listed.slice(0, most - 1), { kind: "smaller", id: -1, name: `${grouped(rest.length)} smaller`, value }];
}

function tiles() {
  const { files, directory, metric } = where;
  const rows = [{ id: 0, parent: null, value: 0 }];
  const push = (part, parent, depth) => {
    const mix = part.kind === "smaller" ? -1 : files.mix(part);
    rows.push({ id: rows.length, parent, name: part.name, amount: part.value, kind: part.kind, target: part.id, depth, mix, leaf: true, value: part.value });
    return rows.length - 1;
  };
  const total = files.sums[metric][directory];
  const narrow = where.place.chart.clientWidth < 500;
  const waiting = [{ id: directory, row: 0, depth: 0, value: total }];
  while (waiting.length && rows.length < MOST_TILES) {
    const next = waiting.shift(); // the largest
    for (const part of largest(files.parts(next.id, metric), TILES)) {
      const row = push(part, next.row, next.depth + 1);
      if (part.kind === "directory" && part.value > LEAST * total && next.depth + 1 < (narrow ? 2 : DEEPEST)) {
        waiting.push({ id: part.id, row, depth: next.depth + 1, value: part.value });
      }
    }
    if (next.row) Object.assign(rows[next.row], { leaf: false, value: 0 });
    waiting.sort((a, b) => b.value - a.value);
  }
  return rows;
}

function treemapSpec(rows, width, colour) {
  const height = width < 500 ? 300 : 420;
  const inside = { signal: "max(0, datum.x1 - datum.x0 - 10)" };
  const wide = "datum.x1 - datum.x0 > 34";
  const tall = "datum.y1 - datum.y0 > 16";
  const text = (test, y, field, extra) => ({
    type: "text",
    from: { data: "boxes" },
    interactive: false,
    encode: {
      enter: {
        x: { field: "x0", offset: 6 },
        y: { field: "y0", offset: y },
        text: { field },
        limit: inside,
        font: { value: MONO },
        fontSize: { value: 11.5 },
        fill: { value: colour.ink },
        baseline: { value: "middle" },
        opacity: [{ test: `${wide} && ${tall} && ${test}`, value: 1 }, { value: 0 }],
        ...extra,
      },
    },
  });
  const shown = rows.map((row) => ({ ...row, shown: row.parent === null ? "" : METRICS[where.metric].show(row.amount) }));
  return {
    width,
    height,
    padding: 0,
    autosize: "none",
    data: [
      {
        name: "tree",
        values: shown,
        transform: [
          { type: "stratify", key: "id", parentKey: "parent" },
          {
            type: "treemap",
            field: "value",
            sort: { field: "value", order: "descending" },
            round: true,
            ratio: 1.4,
            paddingInner: 2,
            paddingTop: 21,
            paddingLeft: 3,
            paddingRight: 3,
            paddingBottom: 3,
            size: [width + 6, height + 24],
          },
          { type: "formula", as: "x0", expr: "datum.x0 - 3" },
          { type: "formula", as: "x1", expr: "datum.x1 - 3" },
          { type: "formula", as: "y0", expr: "datum.y0 - 21" },
          { type: "formula", as: "y1", expr: "datum.y1 - 21" },
        ],
      },
      { name: "boxes", source: "tree", transform: [{ type: "filter", expr: "datum.parent !== null" }] },
    ],
    scales: [
      { name: "mix", type: "linear", domain: [0, 0.5, 1], range: [colour["read-tint"], colour["none-tint"], colour["written-tint"]] },
    ],
    marks: [
      {
        type: "rect",
        from: { data: "boxes" },
        encode: {
          enter: {
            x: { field: "x0" },
            x2: { field: "x1" },
            y: { field: "y0" },
            y2: { field: "y1" },
            cornerRadius: { value: 3 },
            fill: [
              { test: "!datum.leaf", value: colour.raised },
              { test: "datum.mix < 0", value: colour["none-tint"] },
              { scale: "mix", field: "mix" },
            ],
          },
          update: { stroke: { value: null } },
          hover: { stroke: { value: colour.ink }, strokeWidth: { value: 1.5 } },
        },
      },
      text("true", 11, "name", { fontWeight: [{ test: "datum.kind === 'directory'", value: 600 }, { value: "normal" }] }),
      text("datum.leaf && datum.y1 - datum.y0 > 34", 27, "shown", { fill: { value: colour.soft }, fontSize: { value: 11 } }),
    ],
  };
}

function follow(part) {
  if (part.kind === "directory") enter(part.target === undefined ? part.id : part.target);
  else if (part.kind === "file") openFile(part.target === undefined ? part.id : part.target);
  else if (part.kind === "rest" || part.kind === "smaller") showBelow();
}

function about(part) {
  const total = where.files.sums[where.metric][where.directory];
  const amount = part.amount === undefined ? part.value : part.amount;
  return [path(part.name), make("br"), `${METRICS[where.metric].show(amount)}, ${share(total ? amount / total : 0)}`,
    part.mix >= 0 && where.metric === "bytes" && make("span", {}, make("br"), `${share(part.mix)} of it written`)];
}

function enter(directory) {
  where.directory = directory;
  hideTip();
  const { chart, list } = where.place;
  showWhere();
  if (!chart.contains(document.activeElement)) list.focus({ preventScroll: true }); // what had the focus is gone
}

// The files of the directory, in the table below.
function showBelow() {
  const here = where.files.directoryPath(where.directory);
  filterFiles(here === "/" ? "" : `${here}/`);
}

function showWhere() {
  const { files, directory, metric, place } = where;
  const names = [];
  for (let here = directory; here >= 0; here = files.above[here]) names.unshift(here);
  fill(place.crumbs, names.map((id, i) => make("li", {}, i === names.length - 1
    ? make("span", { "aria-current": "location" }, files.directoryNames[id] || "/")
    : make("button", { class: "quiet", type: "button", onclick: () => enter(id) }, files.directoryNames[id] || "/"))));
  const total = files.sums[metric][directory];
  fill(place.total, `${METRICS[metric].show(total)} in ${counted(files.sums.files[directory], "file")}`);
  const parts = files.parts(directory, metric);
  const shown = parts.slice(0, 200);
  const rows = shown.map((part) => [
    part.kind === "rest" ? part.name : make("button", { class: "quiet", type: "button", onclick: () => follow(part) }, path(part.name)),
    METRICS[metric].show(part.value),
    share(total ? part.value / total : 0),
  ]);
  if (parts.length > shown.length) {
    const value = parts.slice(200).reduce((sum, part) => sum + part.value, 0);
    rows.push([`${grouped(parts.length - 200)} smaller`, METRICS[metric].show(value), share(total ? value / total : 0)]);
  }
  fill(place.list, table(`${METRICS[metric].title}: ${METRICS[metric].meaning}`, [["name", "name"], [METRICS[metric].title.toLowerCase(), "n"], ["share", "n"]], rows));
  place.list.scrollTop = 0;
  place.chart.setAttribute("aria-label", `Treemap of ${files.directoryPath(directory)} by ${METRICS[metric].title.toLowerCase()}; the list beside it has the same`);
  const data = tiles();
  return draw(place.chart, (width, colour) => treemapSpec(data, width, colour), (view) => {
    tips(view, (datum) => datum.name !== undefined && about(datum));
    view.addEventListener("click", (_, item) => item && item.datum && item.datum.name !== undefined && follow(item.datum));
  });
}

function startWhere(files) {
  where.files = files;
  const place = {
    crumbs: make("ol", { class: "crumbs" }),
    chart: chart("Treemap"),
    list: make("div", { class: "list", tabindex: "0", role: "region", "aria-label": "What is in this directory" }),
    total: make("span", { class: "count", role: "status" }),
  };
  where.place = place;
  const key = (kind, label) => make("span", { class: `key ${kind}` }, label);
  section(
    "where",
    "Where",
    null,
    make("div", { class: "controls" },
      choice("Size by", Object.entries(METRICS).map(([name, { title }]) => [name, title]), where.metric, (metric) => {
        where.metric = metric;
        showWhere();
      }),
      place.total,
      make("button", { class: "quiet go", type: "button", onclick: showBelow }, "these files in the table")),
    make("div", { class: "panel" },
      make("nav", { "aria-label": "Directory" }, place.crumbs),
      make("div", { class: "where" }, place.chart, place.list),
      make("p", { class: "legend" }, key("read-tint", "read alone"), key("none-tint", "as much of both, or no data"), key("written-tint", "written alone"))),
  );
  let here = 0; // down to where there is something to choose
  while (files.isAlone(here)) [here] = files.directoriesIn(here);
  where.directory = here;
  return showWhere();
}

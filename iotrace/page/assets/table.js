// The files: sorted by any column, filtered as one types, a page of them at a time.

const PER_PAGE = 50;

const COLUMNS = [
  { name: "path", title: "File", kind: "name", meaning: "under its final name" },
  { name: "written", title: "Written", kind: "n", show: size, meaning: "bytes, over all system calls" },
  { name: "read", title: "Read", kind: "n", show: size, meaning: "bytes, over all system calls" },
  { name: "calls", title: "Calls", kind: "n", show: number, meaning: "system calls of every kind" },
  { name: "random", title: "Random", kind: "n medium-up", show: (value) => (value < 0 ? "-" : share(value / 1000)), meaning: "reads and writes that began elsewhere than where the one before had ended" },
  { name: "syncs", title: "Syncs", kind: "n medium-up", show: number, meaning: "fsync, fdatasync and their kin" },
  { name: "sync_p99", title: "Sync p99", kind: "n wide", show: (value) => (value ? duration(value) : "-"), meaning: "99 of 100 syncs took no longer" },
  { name: "busy", title: "Time", kind: "n medium-up", show: duration, meaning: "that successful calls took" },
  { name: "slowest", title: "Slowest", kind: "n wide", show: (value) => (value ? duration(value) : "-"), meaning: "the longest call" },
  { name: "errors", title: "Failed", kind: "n wide", show: number, meaning: "calls that returned an error" },
];

const listing = { files: null, lower: null, chosen: null, sort: "bytes", down: true, page: 0 };

// Words, all of which a path must have, whatever their case; those that begin with a minus, it must not.
function matcher(text) {
  const words = text.toLowerCase().split(/\s+/).filter((word) => word && word !== "-");
  const wanted = words.filter((word) => !word.startsWith("-"));
  const unwanted = words.filter((word) => word.startsWith("-")).map((word) => word.slice(1));
  if (!words.length) return null;
  return (found) => wanted.every((word) => found.includes(word)) && !unwanted.some((word) => found.includes(word));
}

function choose(text) {
  const { files } = listing;
  const matches = matcher(text);
  const count = files.names.length;
  if (!matches) return Int32Array.from({ length: count }, (_, i) => i);
  if (!listing.lower) listing.lower = Array.from({ length: count }, (_, i) => files.path(i).toLowerCase());
  const found = [];
  for (let i = 0; i < count; i += 1) if (matches(listing.lower[i])) found.push(i);
  return Int32Array.from(found);
}

function order() {
  const { files, sort, down } = listing;
  if (sort === "path") {
    listing.chosen.sort(); // their numbers are in order of path
    if (down) listing.chosen.reverse();
    return;
  }
  const values = files.columns[sort];
  listing.chosen.sort(down ? (a, b) => values[b] - values[a] || a - b : (a, b) => values[a] - values[b] || a - b);
}

function showRows() {
  const { files, chosen, place } = listing;
  const pages = Math.max(1, Math.ceil(chosen.length / PER_PAGE));
  listing.page = Math.min(Math.max(0, listing.page), pages - 1);
  const begin = listing.page * PER_PAGE;
  const rows = Array.from(chosen.subarray(begin, begin + PER_PAGE), (file) =>
    make("tr", {}, COLUMNS.map(({ name, kind, show }) => {
      if (name === "path") {
        const here = files.where(file);
        return make("td", { class: kind }, make("button", { class: "quiet", type: "button", onclick: () => openFile(file) }, path(files.path(file))), here && make("span", { class: "soft" }, ` ${here}`));
      }
      const value = files.columns[name][file];
      return make("td", { class: value > 0 ? kind : `${kind} zero` }, show(value));
    })));
  fill(place.body, rows.length ? rows : make("tr", {}, make("td", { colspan: COLUMNS.length }, "No file matches.")));
  const moved = chosen.reduce((sum, file) => sum + files.columns.bytes[file], 0);
  fill(place.count, `${counted(chosen.length, "file")}, ${size(moved)}`);
  fill(place.shown, chosen.length ? `${grouped(begin + 1)} to ${grouped(Math.min(begin + PER_PAGE, chosen.length))} of ${grouped(chosen.length)}` : "none");
  place.back.disabled = listing.page === 0;
  place.on.disabled = listing.page === pages - 1;
  for (const { name } of COLUMNS) {
    const head = place.heads[name];
    if (name === listing.sort) head.setAttribute("aria-sort", listing.down ? "descending" : "ascending");
    else head.removeAttribute("aria-sort");
  }
}

function sortBy(name) {
  listing.down = listing.sort === name ? !listing.down : name !== "path";
  listing.sort = name;
  listing.page = 0;
  order();
  showRows();
}

function apply(text) {
  listing.chosen = choose(text);
  listing.page = 0;
  order();
  showRows();
}

function filterFiles(text) {
  listing.place.input.value = text;
  apply(text);
  document.getElementById("files").scrollIntoView();
  listing.place.input.focus({ preventScroll: true });
}

// A file by its path: its dialog, or the table of those that have the words.
function lookUp(name) {
  const { files } = listing;
  for (let i = 0; i < files.names.length; i += 1) if (files.path(i) === name) return openFile(i);
  return filterFiles(name);
}

function turn(by) {
  listing.page += by;
  showRows();
}

function startTable(files) {
  listing.files = files;
  const place = {
    input: make("input", { type: "search", id: "filter", placeholder: "Filter by words in the path", autocomplete: "off", spellcheck: "false", "aria-describedby": "filter-help" }),
    count: make("span", { class: "count", role: "status" }),
    body: make("tbody", {}),
    shown: make("span", {}),
    back: make("button", { class: "button", type: "button", onclick: () => turn(-1) }, "Previous"),
    on: make("button", { class: "button", type: "button", onclick: () => turn(1) }, "Next"),
    heads: {},
  };
  listing.place = place;
  const heads = COLUMNS.map(({ name, title, kind, meaning }) => {
    place.heads[name] = make("th", { scope: "col", class: kind }, make("button", { type: "button", title: meaning, onclick: () => sortBy(name) }, title));
    return place.heads[name];
  });
  place.input.addEventListener("input", () => apply(place.input.value));
  const left = summary.files - summary.listed;
  section(
    "files",
    "Files",
    left ? `The ${grouped(summary.listed)} busiest of ${counted(summary.files, "file")}. The other ${grouped(left)} are in all sums, and in the directories above.` : null,
    make("div", { class: "controls" },
      make("div", { class: "search" }, make("label", { class: "hidden", for: "filter" }, "Filter files"), place.input,
        make("span", { class: "hidden", id: "filter-help" }, "All words must be in the path; a word that begins with a minus must not.")),
      place.count,
      make("button", { class: "button", type: "button", onclick: openWhole }, "Histograms of all files")),
    make("div", { class: "panel" },
      make("div", { class: "files-table", tabindex: "0", role: "group", "aria-label": "Table of files" },
        make("table", { class: "sorts" }, make("caption", { class: "hidden" }, "Files; the buttons in the heads of the columns sort them"), make("thead", {}, make("tr", {}, heads)), place.body)),
      make("div", { class: "pager" }, place.shown, place.back, place.on)),
    make("details", { class: "behind" }, make("summary", {}, "What the columns mean"),
      table("Columns", [["Column", ""], ["Meaning", ""]], COLUMNS.map(({ title, meaning }) => [title, meaning]))),
  );
  apply("");
}

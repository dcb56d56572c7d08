// The data of the page: what is read at once, and what is unpacked.

const read = (name) => JSON.parse(document.getElementById(`data-${name}`).textContent);
const summary = read("summary");
const detailsData = read("details");

async function unpack(text) {
  const raw = atob(text);
  const bytes = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i += 1) bytes[i] = raw.charCodeAt(i);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return JSON.parse(await new Response(stream).text());
}

const ADDED = ["files", "read", "written", "calls", "errors", "syncs", "busy"];

// The listed files and their directories, with sums over everything below each directory.
class Files {
  constructor(listing) {
    this.names = listing.name;
    this.columns = listing.columns;
    this.columns.bytes = this.columns.read.map((value, i) => value + this.columns.written[i]);
    this.places = listing.places;
    this.place = listing.place;
    this.above = listing.directories.above;
    this.directoryNames = listing.directories.name;
    this.directory = new Int32Array(this.names.length);
    let here = 0;
    listing.directory.forEach((step, i) => {
      here += step;
      this.directory[i] = here;
    });
    this.rest = new Map(listing.rest.map(([directory, ...sums]) => [directory, this.named(listing.rest_columns, sums)]));
    this._addUp();
    this._link();
    this.paths = new Array(this.names.length);
  }

  named(names, values) {
    const found = Object.fromEntries(names.map((name, i) => [name, values[i]]));
    found.bytes = found.read + found.written;
    return found;
  }

  _addUp() {
    const directories = this.above.length;
    this.sums = Object.fromEntries([...ADDED, "bytes"].map((name) => [name, new Float64Array(directories)]));
    const { sums } = this;
    for (const name of [...ADDED, "bytes"]) {
      const own = this.columns[name];
      const total = sums[name];
      for (let i = 0; i < this.directory.length; i += 1) total[this.directory[i]] += own ? own[i] : 1;
      for (const [directory, found] of this.rest) total[directory] += found[name];
      for (let i = directories - 1; i > 0; i -= 1) total[this.above[i]] += total[i];
    }
  }

  // Which files and which directories each directory has, as arrays one after the other.
  _link() {
    const link = (above, count) => {
      const from = new Int32Array(count + 1);
      for (const each of above) if (each >= 0) from[each + 1] += 1;
      for (let i = 0; i < count; i += 1) from[i + 1] += from[i];
      const next = from.slice();
      const members = new Int32Array(above.length);
      above.forEach((each, i) => {
        if (each >= 0) members[next[each]++] = i;
      });
      return (directory) => members.subarray(from[directory], from[directory + 1]);
    };
    this.filesIn = link(this.directory, this.above.length);
    this.directoriesIn = link(this.above, this.above.length);
  }

  directoryPath(directory) {
    const names = [];
    for (let here = directory; here > 0; here = this.above[here]) names.push(this.directoryNames[here]);
    return names.length ? `/${names.reverse().join("/")}` : "/";
  }

  path(file) {
    let found = this.paths[file];
    if (found === undefined) {
      const directory = this.directory[file];
      if (this._lastDirectory !== directory) {
        this._lastDirectory = directory;
        this._lastPath = this.directoryPath(directory);
      }
      found = `${this._lastPath === "/" ? "" : this._lastPath}/${this.names[file]}`;
      this.paths[file] = found;
    }
    return found;
  }

  where(file) {
    if (!this.place.length) return "";
    const [host, namespace] = this.places[this.place[file]];
    return [host, `mount namespace ${namespace}`].filter(Boolean).join(", ");
  }

  // Whether there is nothing in a directory but another one.
  isAlone(directory) {
    return this.directoriesIn(directory).length === 1 && !this.filesIn(directory).length && !this.rest.has(directory);
  }

  // The parts of a directory by a metric, the largest first.
  parts(directory, metric) {
    const found = [];
    for (let below of this.directoriesIn(directory)) {
      let name = `${this.directoryNames[below]}/`;
      while (this.isAlone(below)) {
        [below] = this.directoriesIn(below);
        name += `${this.directoryNames[below]}/`;
      }
      found.push({ kind: "directory", id: below, name, value: this.sums[metric][below] });
    }
    for (const file of this.filesIn(directory)) {
      found.push({ kind: "file", id: file, name: this.names[file], value: this.columns[metric][file] });
    }
    found.sort((a, b) => b.value - a.value);
    const rest = this.rest.get(directory);
    if (rest) found.push({ kind: "rest", id: directory, name: counted(rest.files, "file") + " not listed", value: rest[metric] });
    return found;
  }

  // How much of what moved was written, 0 to 1; -1 if nothing moved.
  mix(part) {
    let source = this.columns;
    if (part.kind === "directory") source = this.sums;
    if (part.kind === "rest") source = Object.fromEntries(Object.entries(this.rest.get(part.id)).map(([k, v]) => [k, { [part.id]: v }]));
    const moved = source.read[part.id] + source.written[part.id];
    return moved ? source.written[part.id] / moved : -1;
  }
}

// The records behind histograms: which piece has that of which file, and the pieces that were unpacked.
const records = {
  pieceOf: new Map(),
  pieces: new Map(),
  async open() {
    const numbers = await unpack(detailsData.numbers);
    numbers.forEach((files, piece) => files.forEach((file, i) => this.pieceOf.set(file, [piece, i])));
  },
  has(file) {
    return this.pieceOf.has(file);
  },
  async of(file) {
    if (!this.pieceOf.has(file)) return null;
    const [piece, i] = this.pieceOf.get(file);
    if (!this.pieces.has(piece)) this.pieces.set(piece, await unpack(detailsData.pieces[piece]));
    return named(this.pieces.get(piece)[i]);
  },
};

function named(values) {
  const found = {};
  detailsData.fields.forEach((name, i) => {
    found[name] = values[i] || (name === "calls" ? {} : []);
  });
  const of = (names, list) => Object.fromEntries(names.map((name, i) => [name, list[i] || 0]));
  found.read = of(detailsData.transfers, found.read);
  found.written = of(detailsData.transfers, found.written);
  found.syncs = of(detailsData.syncs, found.syncs);
  found.facts = of(detailsData.facts, found.facts);
  return found;
}

// One file, or all together: facts and histograms, in a dialog.

const FACTS = [
  ["opens", "opens", grouped, "successful ones"],
  ["size", "size", size, "as last seen, and at least as far as it was touched"],
  ["rewrites", "rewrites", grouped, "writes that begin where the last one did"],
  ["direct", "O_DIRECT", grouped, "calls past the page cache"],
  ["unaligned", "unaligned", grouped, "calls whose offset or size is no multiple of 4,096"],
  ["durable", "durable writes", grouped, "that were on storage when they returned"],
  ["threads", "threads", grouped, "that used it; 64: so many or more"],
  ["queue_depth", "queue depth", grouped, "requests in flight at once, at most"],
  ["mapped", "mapped", (count) => (count === 1 ? "yes" : grouped(count)), "what went through memory is in no figure"],
];

function transfers(verb, found) {
  if (!found.calls) return [];
  const random = found.moved ? found.jumps / found.moved : null;
  return [
    { label: `bytes ${verb}`, value: size(found.bytes), meaning: `in ${counted(found.calls, "call")}` },
    random !== null && { label: verb === "read" ? "random reads" : "random writes", value: share(random), meaning: "calls that began elsewhere than where the one before had ended" },
    found.storage > 0 && { label: "from storage", value: share(Math.min(1, found.storage / found.bytes)), meaning: "bytes brought from storage for each byte read" },
    found.p50 > 0 && { label: verb === "read" ? "read latency" : "write latency", value: `${duration(found.p50)} / ${duration(found.p99)}`, meaning: `median and p99; slowest ${duration(found.most)}` },
  ].filter(Boolean);
}

function factsOf(record) {
  const { syncs, facts } = record;
  const found = [...transfers("read", record.read), ...transfers("written", record.written)];
  if (syncs.calls) {
    found.push({ label: "synced", value: size(syncs.bytes), meaning: `in ${counted(syncs.calls, "sync")}` });
    found.push({ label: "sync latency", value: `${duration(syncs.p50)} / ${duration(syncs.p99)}`, meaning: `median and p99; slowest ${duration(syncs.most)}` });
  }
  if (syncs.unsynced) found.push({ label: "unsynced", value: size(syncs.unsynced), meaning: "written since the last sync" });
  for (const [name, label, show, meaning] of FACTS) if (facts[name]) found.push({ label, value: show(facts[name]), meaning });
  const calls = Object.entries(record.calls).sort((a, b) => b[1] - a[1]);
  if (calls.length) found.push({ label: "calls", wide: true, value: calls.slice(0, 6).map(([name, count]) => `${name} ${grouped(count)}`).join(", "), meaning: "system calls, the most frequent" });
  return found;
}

function histogramsOf(record) {
  const one = (label, tone, pairs) => ({ label, tone, pairs });
  return [
    histogram("Reads: sizes", "bytes asked for beside bytes that came; 0 is the end of the file", size, [one("requested", "read", record.read_requested), one("completed", "read", record.read_completed)]),
    histogram("Reads: latency", "calls that the page cache served beside those that brought bytes from storage", duration, [one("from cache", "read", record.read_cached), one("from storage", "written", record.read_missed)]),
    histogram("Reads: runs", "bytes of reads that went on where the one before had ended", size, [one("runs", "read", record.read_runs)]),
    histogram("Writes: sizes", "bytes asked for beside bytes that went", size, [one("requested", "written", record.written_requested), one("completed", "written", record.written_completed)]),
    histogram("Writes: latency", "successful calls, from entry to return", duration, [one("writes", "written", record.written_latency)]),
    histogram("Writes: runs", "bytes of writes that went on where the one before had ended", size, [one("runs", "written", record.written_runs)]),
    histogram("Syncs: latency", "successful calls, from entry to return", duration, [one("syncs", "synced", record.sync_latency)]),
    histogram("Bytes between syncs", "written to a file from one successful sync to the next", size, [one("syncs", "synced", record.between)]),
  ].filter(Boolean);
}

async function showDialog(title, note, record, otherwise) {
  const dialog = document.getElementById("dialog");
  const shown = record ? histogramsOf(record) : [];
  fill(
    dialog,
    make("div", { class: "inside" },
      make("div", { class: "title" }, make("div", {}, make("h2", { id: "dialog-title", dir: "ltr" }, title), note && make("p", { class: "soft" }, note)),
        make("button", { class: "button", type: "button", onclick: () => dialog.close(), autofocus: true }, "Close")),
      record ? figures(factsOf(record), "facts") : otherwise,
      shown.length > 0 && make("div", { class: "grid" }, shown.map(({ element }) => element))),
  );
  if (!dialog.open) dialog.showModal();
  dialog.scrollTop = 0;
  await Promise.all(shown.map(({ begin }) => begin()));
}

// What the listing has of a file that has no record.
function listed(file) {
  const { columns } = where.files;
  const rest = summary.files - summary.with_details;
  return [
    figures([
      { label: "bytes read", value: size(columns.read[file]) },
      { label: "bytes written", value: size(columns.written[file]) },
      { label: "calls", value: grouped(columns.calls[file]) },
      { label: "syncs", value: grouped(columns.syncs[file]) },
      { label: "time", value: duration(columns.busy[file]) },
    ], "facts"),
    make("p", { class: "soft" }, `The page has histograms of the ${counted(summary.with_details, "busiest file")}. Those of the other ${grouped(rest)} are in the histograms of all files together; iotrace report --file PATH has each.`),
  ];
}

async function openFile(file) {
  hideTip();
  const record = await records.of(file);
  return showDialog(where.files.path(file), where.files.where(file), record, listed(file));
}

function openWhole() {
  return showDialog(`All ${counted(summary.files, "file")} together`, "", named(summary.whole));
}

document.getElementById("dialog").addEventListener("click", (event) => {
  if (event.target === event.currentTarget) event.currentTarget.close();
});

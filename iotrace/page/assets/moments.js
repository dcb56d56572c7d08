// When: bytes and syncs over time, and the busiest files over time.

const column = (series, name) => series.counters.indexOf(name);

function timesSpec(series, width, colour) {
  const [read, written, syncs] = ["read_bytes", "write_bytes", "syncs"].map((name) => column(series, name));
  const seconds = series.column_ns / 1e9;
  const values = [];
  series.rows.forEach((row, x) => {
    values.push({ x, kind: "read", from: 0, to: row[read] / seconds, row });
    values.push({ x, kind: "written", from: 0, to: -row[written] / seconds, row });
  });
  const marks = (data, height, y, extra) => ({
    type: "rect",
    from: { data },
    encode: { enter: { x: { scale: "x", field: "x" }, width: { scale: "x", band: 1 }, ...extra } },
  });
  const inner = width - 84;
  const most = Math.max(1, ...values.map(({ to }) => Math.abs(to)));
  const high = Math.max(1, ...series.rows.map((row) => row[syncs] / seconds));
  const hasSyncs = series.rows.some((row) => row[syncs]);
  const units = [["GiB", 2 ** 30], ["MiB", 2 ** 20], ["KiB", 1024], ["B", 1]];
  const [unit, divisor] = units.find(([, size]) => most >= size);
  const labels = { labelPadding: 6, ticks: false, domain: false, grid: true, tickCount: 4, format: "~s" };
  const groups = [
    {
      type: "group",
      encode: { enter: { y: { value: 0 }, width: { value: inner }, height: { value: 190 } } },
      scales: [{ name: "y", type: "linear", domain: [-most / divisor, most / divisor], range: [190, 0], nice: true }],
      axes: [{ orient: "left", scale: "y", title: `${unit}/s`, ...labels, encode: { labels: { update: { text: { signal: "format(abs(datum.value), '~s')" } } } } }],
      marks: [
        marks("bytes", 190, "y", {
          y: { scale: "y", field: "from" },
          y2: { scale: "y", signal: `datum.to / ${divisor}` },
          fill: [{ test: "datum.kind === 'read'", value: colour.read }, { value: colour.written }],
        }),
        { type: "rule", encode: { enter: { x: { value: 0 }, x2: { value: inner }, y: { scale: "y", value: 0 }, stroke: { value: colour["strong-line"] } } } },
      ],
    },
  ];
  if (hasSyncs) {
    groups.push({
      type: "group",
      encode: { enter: { y: { value: 212 }, width: { value: inner }, height: { value: 54 } } },
      scales: [{ name: "y", type: "linear", domain: [0, high], range: [54, 0], nice: true }],
      axes: [{ orient: "left", scale: "y", title: "syncs/s", ...labels, tickCount: 2 }],
      marks: [marks("syncs", 54, "y", { y: { scale: "y", field: "rate" }, y2: { scale: "y", value: 0 }, fill: { value: colour.synced } })],
    });
  }
  const height = hasSyncs ? 266 : 190;
  return {
    width: inner,
    height,
    padding: { left: 66, right: 18, top: 8, bottom: 26 },
    autosize: "none",
    data: [
      { name: "bytes", values },
      { name: "syncs", values: series.rows.map((row, x) => ({ x, rate: row[syncs] / seconds, row })) },
    ],
    scales: [
      { name: "x", type: "band", domain: series.rows.map((_, x) => x), range: [0, inner], paddingInner: series.rows.length > 120 ? 0.05 : 0.15 },
      { name: "time", type: "linear", domain: [0, (series.rows.length * series.column_ns) / 1e9], range: [0, inner] },
    ],
    axes: [{ orient: "bottom", scale: "time", tickCount: Math.max(3, Math.floor(inner / 110)), offset: 2, encode: { labels: { update: { text: { signal: "datum.value + ' s'" } } } } }],
    marks: groups,
  };
}

const HEAT = {
  bytes: { title: "Bytes", show: size, of: (s) => (row) => row[column(s, "read_bytes")] + row[column(s, "write_bytes")] },
  calls: { title: "Calls", show: grouped, of: (s) => (row) => row[column(s, "read_calls")] + row[column(s, "write_calls")] + row[column(s, "syncs")] },
  busy: { title: "Time", show: duration, of: (s) => (row) => row[column(s, "busy_ns")] },
  syncs: { title: "Syncs", show: grouped, of: (s) => (row) => row[column(s, "syncs")] },
};

function heatSpec(series, metric, width, colour) {
  const value = HEAT[metric].of(series);
  const names = Math.min(320, Math.max(96, Math.floor(width * 0.3)));
  const inner = width - names - 14;
  const line = 19;
  const lines = series.lines.map(({ name }, y) => ({ y, name, label: tail(name, Math.floor((names - 12) / 7)) }));
  const cells = series.lines.flatMap(({ rows }, y) => rows.map((row, x) => ({ x, y, value: value(row) })).filter((cell) => cell.value > 0));
  return {
    width: inner,
    height: line * lines.length,
    padding: { left: names, right: 14, top: 4, bottom: 26 },
    autosize: "none",
    data: [
      { name: "lines", values: lines },
      { name: "cells", values: cells },
    ],
    scales: [
      { name: "x", type: "band", domain: Array.from({ length: series.cells }, (_, x) => x), range: [0, inner] },
      { name: "y", type: "band", domain: lines.map(({ y }) => y), range: [0, line * lines.length], paddingInner: 0.1 },
      { name: "heat", type: "pow", exponent: 0.3, domain: [0, Math.max(1, ...cells.map((cell) => cell.value))], range: [colour["heat-low"], colour["heat-high"]] },
      { name: "time", type: "linear", domain: [0, (series.cells * series.cell_ns) / 1e9], range: [0, inner] },
    ],
    axes: [{ orient: "bottom", scale: "time", tickCount: Math.max(2, Math.floor(inner / 110)), offset: 2, encode: { labels: { update: { text: { signal: "datum.value + ' s'" } } } } }],
    marks: [
      {
        type: "rect",
        from: { data: "lines" },
        encode: { enter: { x: { value: 0 }, width: { value: inner }, y: { scale: "y", field: "y" }, height: { scale: "y", band: 1 }, fill: { value: colour.raised } } },
      },
      {
        type: "rect",
        from: { data: "cells" },
        encode: { enter: { x: { scale: "x", field: "x" }, width: { scale: "x", band: 1 }, y: { scale: "y", field: "y" }, height: { scale: "y", band: 1 }, fill: { scale: "heat", field: "value" } } },
      },
      {
        type: "text",
        from: { data: "lines" },
        encode: { enter: { x: { value: -8 }, y: { scale: "y", field: "y", band: 0.5 }, align: { value: "right" }, baseline: { value: "middle" }, text: { field: "label" }, font: { value: MONO }, fontSize: { value: 11 }, limit: { value: names - 10 }, fill: { value: colour.ink } } },
      },
    ],
  };
}

function at(x, ns) {
  return `${duration(x * ns)} to ${duration((x + 1) * ns)}`;
}

function showMoments(series) {
  const times = chart("What was read, written and synced over time; the table below has the figures");
  const heat = chart("The busiest files over time; the table below has the figures");
  const key = (kind, label) => make("span", { class: `key ${kind}` }, label);
  let metric = "bytes";
  const drawHeat = () =>
    draw(heat, (width, colour) => heatSpec(series, metric, width, colour), (view) =>
      tips(view, (datum) => datum.value !== undefined && datum.y !== undefined && [path(series.lines[datum.y].name), make("br"), `${HEAT[metric].show(datum.value)}, ${at(datum.x, series.cell_ns)}`]));
  const of = (row, name) => row[column(series, name)];
  const figuresOf = (row) => [size(of(row, "read_bytes")), grouped(of(row, "read_calls")), size(of(row, "write_bytes")), grouped(of(row, "write_calls")), grouped(of(row, "syncs")), grouped(of(row, "errors"))];
  const titles = [["read", "n"], ["reads", "n"], ["written", "n"], ["writes", "n"], ["syncs", "n"], ["failed", "n"]];
  const unknown = series.unknown.some((value) => value > 0);
  const sum = (rows) => rows.reduce((total, row) => row.map((value, i) => value + total[i]), series.unknown.map(() => 0));
  section(
    "when",
    "When",
    `A bar is ${series.column}; the run was recorded in intervals of ${series.interval}.` + (unknown ? ` ${series.calls_at_unknown_times} reads and writes happened at times that are not known, and are in no bar.` : ""),
    make("div", { class: "panel" }, make("div", { class: "charts" }, times),
      make("p", { class: "legend" }, key("read", "read, upwards"), key("written", "written, downwards"), key("synced", "syncs")),
      behind("Table: over time", () => table(`Each ${series.column}`, [["from", "n"], ...titles], series.rows.map((row, x) => [duration(x * series.column_ns), ...figuresOf(row)])))),
    make("div", { class: "panel below" },
      make("div", { class: "charts" },
        make("div", { class: "heading" }, make("h3", {}, "Files over time"),
          choice("Colour by", Object.entries(HEAT).map(([name, { title }]) => [name, title]), metric, (chosen) => {
            metric = chosen;
            drawHeat();
          })),
        heat),
      make("p", { class: "legend" }, `The files that moved most bytes; all others are one line. A cell is ${series.cell}: the darker, or in the dark the lighter, the more.`),
      behind("Table: files over time", () => table("Sums over the time of each line", [["file", "name"], ...titles], series.lines.map(({ name, rows }) => [path(name), ...figuresOf(sum(rows))])))),
  );
  return Promise.all([
    draw(times, (width, colour) => timesSpec(series, width, colour), (view) =>
      tips(view, (datum) => datum.row && [make("b", {}, at(datum.x, series.column_ns)), make("br"), `read ${size(of(datum.row, "read_bytes"))}, written ${size(of(datum.row, "write_bytes"))}, ${counted(of(datum.row, "syncs"), "sync")}`])),
    drawHeat(),
  ]);
}

// Histograms of powers of two: one or two series, and the table behind them.

// The counts of a record's array by power, and every power between the first and the last.
function buckets(series) {
  const counts = series.map(({ pairs }) => {
    const found = new Map();
    for (let i = 0; i < pairs.length; i += 2) found.set(pairs[i], pairs[i + 1]);
    return found;
  });
  const powers = counts.flatMap((found) => [...found.keys()]);
  const least = Math.min(...powers.filter((power) => power > 0));
  const most = Math.max(...powers);
  const all = powers.includes(0) ? [0] : [];
  for (let power = least; power <= most; power += 1) all.push(power);
  return all.map((power) => ({ power, counts: counts.map((found) => found.get(power) || 0) }));
}

const lower = (power) => (power ? 2 ** (power - 1) : 0);
const range = (power, unit) => (power ? `${unit(lower(power))} to ${unit(2 * lower(power))}` : "0");

function histogramSpec(rows, series, unit, width, colour) {
  const height = 120;
  const values = rows.flatMap(({ power, counts }, x) =>
    counts.map((count, s) => ({ x, power, s, count, colour: colour[series[s].tone] })),
  );
  const step = Math.max(1, Math.ceil(rows.length / Math.max(2, Math.floor((width - 62) / 58))));
  const ticks = rows.map((_, x) => x).filter((x) => x % step === 0);
  return {
    width: width - 62,
    height,
    padding: { left: 40, right: 22, top: 6, bottom: 22 },
    autosize: "none",
    data: [
      { name: "bars", values },
      { name: "ticks", values: ticks.map((x) => ({ x, label: unit(lower(rows[x].power)) })) },
    ],
    scales: [
      { name: "x", type: "band", domain: rows.map((_, x) => x), range: "width", paddingInner: 0.16, paddingOuter: 0.08 },
      { name: "s", type: "band", domain: series.map((_, s) => s), range: [0, { signal: "bandwidth('x')" }] },
      { name: "y", type: "linear", domain: { data: "bars", field: "count" }, range: "height", nice: true, zero: true },
    ],
    axes: [{ orient: "left", scale: "y", tickCount: 3, tickMinStep: 1, grid: true, domain: false, ticks: false, format: "~s", labelPadding: 6 }],
    marks: [
      {
        type: "rect",
        from: { data: "bars" },
        encode: {
          enter: {
            x: { scale: "x", field: "x", offset: { scale: "s", field: "s" } },
            width: { scale: "s", band: 0.94 },
            y: { scale: "y", field: "count" },
            y2: { scale: "y", value: 0 },
            fill: { field: "colour" },
            fillOpacity: [{ test: "datum.s === 1", value: 0.55 }, { value: 1 }],
            cornerRadiusTopLeft: { value: 1.5 },
            cornerRadiusTopRight: { value: 1.5 },
          },
        },
      },
      {
        type: "text",
        from: { data: "ticks" },
        encode: {
          enter: {
            x: { scale: "x", field: "x", band: 0.5 },
            y: { value: height + 16 },
            text: { field: "label" },
            align: { value: "center" },
            fontSize: { value: 10.5 },
            fill: { value: colour.soft },
          },
        },
      },
    ],
  };
}

// A panel with a histogram; nothing if there is none. `series` has {label, tone, pairs}.
function histogram(title, meaning, unit, series) {
  const shown = series.filter(({ pairs }) => pairs.length);
  if (!shown.length) return null;
  const rows = buckets(shown);
  const place = chart(`Histogram: ${title}`);
  const legend = shown.length > 1 && make("p", { class: "legend" }, shown.map(({ label, tone }, i) =>
    make("span", { class: `key ${tone}${i ? " faint" : ""}` }, label)));
  const made = make("div", { class: "panel" }, make("h3", {}, title), make("p", { class: "meaning" }, meaning), place, legend);
  made.append(behind(`Table: ${title}`, () =>
    table(title, [["from", "n"], ...shown.map(({ label }) => [label, "n"])],
      rows.map(({ power, counts }) => [range(power, unit), ...counts.map(grouped)]))));
  const begin = () => draw(place, (width, colour) => histogramSpec(rows, shown, unit, width, colour), (view) =>
    tips(view, (datum) => datum.count !== undefined && [`${range(datum.power, unit)}: ${counted(datum.count, "time")}, ${shown[datum.s].label}`]));
  return { element: made, begin };
}

// Charts: specifications of Vega, drawn on canvases. Vega interprets its expressions, so nothing is evaluated as code.

const dark = window.matchMedia("(prefers-color-scheme: dark)");
const drawn = new Map(); // element -> how to draw it again, what is there, its width

function colours() {
  const style = getComputedStyle(document.documentElement);
  return new Proxy({}, { get: (_, name) => style.getPropertyValue(`--${name}`).trim() });
}

const FONT = 'system-ui, -apple-system, "Segoe UI", Inter, "Noto Sans", "DejaVu Sans", sans-serif';
const MONO = 'ui-monospace, "SF Mono", "Cascadia Mono", "DejaVu Sans Mono", Menlo, Consolas, monospace';

function configuration(colour) {
  const axis = { labelColor: colour.soft, titleColor: colour.soft, domainColor: colour.line, tickColor: colour.line };
  return {
    font: FONT,
    background: null,
    axis: { ...axis, gridColor: colour.line, labelFont: FONT, labelFontSize: 11, titleFontSize: 11, titleFontWeight: "normal" },
    text: { fill: colour.ink, font: FONT },
  };
}

// Draw what `specify(width, colours)` says into an element, and again when its width or the colours change.
async function draw(element, specify, ready) {
  const width = Math.floor(element.clientWidth - 2 * (parseFloat(getComputedStyle(element).paddingLeft) || 0));
  const before = drawn.get(element);
  drawn.set(element, { specify, ready, width, finalize: () => {} });
  if (width < 40) return null;
  if (before) before.finalize();
  const colour = colours();
  const place = make("div", { role: "presentation" });
  const { view, finalize } = await vegaEmbed(place, { ...specify(width, colour), config: configuration(colour) }, {
    ast: true,
    mode: "vega",
    actions: false,
    defaultStyle: false,
    renderer: "canvas",
    tooltip: false,
    hover: false,
    logLevel: 1,
  });
  const now = drawn.get(element);
  if (now.specify !== specify || now.width !== width) {
    finalize();
    return null;
  }
  for (const canvas of place.querySelectorAll("canvas")) canvas.setAttribute("aria-hidden", "true");
  for (const each of [place, ...place.querySelectorAll("[role],[aria-label],[aria-roledescription]")]) {
    for (const name of ["role", "aria-label", "aria-roledescription"]) each.removeAttribute(name);
  }
  place.dataset.scheme = dark.matches ? "dark" : "light";
  fill(element, place);
  now.finalize = finalize;
  if (ready) ready(view);
  return view;
}

function redraw() {
  for (const [element, { specify, ready }] of drawn) {
    if (element.isConnected) draw(element, specify, ready);
    else drawn.delete(element);
  }
}

let waiting = 0;
const watcher = new ResizeObserver((entries) => {
  const changed = entries.some(({ target }) => {
    const known = drawn.get(target);
    const padding = 2 * (parseFloat(getComputedStyle(target).paddingLeft) || 0);
    return known && Math.abs(known.width - Math.floor(target.clientWidth - padding)) > 2;
  });
  if (changed) {
    clearTimeout(waiting);
    waiting = setTimeout(redraw, 120);
  }
});
dark.addEventListener("change", redraw);

function chart(label, kind = "chart") {
  const made = make("div", { class: kind, role: "img", "aria-label": label });
  watcher.observe(made);
  return made;
}

// Tips for the marks of a view: `about(datum)` returns what to say, or nothing.
function tips(view, about) {
  view.addEventListener("mousemove", (event, item) => {
    const said = item && item.datum && about(item.datum, item);
    if (said) showTip(event, ...said);
    else hideTip();
  });
  view.addEventListener("mouseout", hideTip);
}

// A figure drawn by the Vega that the page has: JupyterLab and Voila bring one, so that look,
// tooltips and menu are those of a figure in the next cell. Elsewhere the kernel sends an image.

const MIMETYPE = "application/vnd.vegalite.v5+json";
const OPTIONS = { metadata: { [MIMETYPE]: { embed_options: { renderer: "svg" } } } };
const USUAL = 720; // the width that legends and line breaks of a specification are made for
const WIDEST = 960;
const AXIS = 70; // beside a panel, which does not shrink with it
const NARROWEST = 60; // of a panel
const MENU = 50; // and Vega's padding, to the right of the chart
const OVERHANG = 4; // of what is drawn, into that padding
const PASSES = 3; // until a chart is no wider than its place: what stands beside panels is not known before
const INK = "#797979"; // plots.theme: readable on any ground
const MOST_KEPT = 400_000; // characters of a drawing that is kept

const narrow = (value, share) => Math.max(1, Math.floor(value * share + 0.4));

function wrap(lines, most) {
  const rows = [""];
  for (const word of [lines].flat().join(" ").split(" ")) {
    const longer = `${rows.at(-1)} ${word}`.trim();
    if (longer.length <= most) rows[rows.length - 1] = longer;
    else rows.push(word);
  }
  return rows;
}

function eachPart(part, visit) {
  if (part === null || typeof part !== "object") return;
  visit(part);
  for (const [name, inner] of Object.entries(part)) if (name !== "values") eachPart(inner, visit);
}

// `less` is what panels with long names beside them have to be narrower.
function fit(spec, width, less) {
  const made = structuredClone(spec), share = width / USUAL;
  eachPart(made, (part) => {
    if (part.legend?.columns) part.legend.columns = narrow(part.legend.columns, Math.min(1, share));
    if (part.labelLimit === 0) part.labelLimit = 0.4 * width; // a longer name ends in dots
    if (part.header) part.header.labelLimit = width - AXIS - 10;
  });
  if (made.title?.text) {
    made.title.text = wrap(made.title.text, narrow(62, share));
    if (made.title.subtitle) made.title.subtitle = wrap(made.title.subtitle, narrow(84, share));
  }
  if (made.autosize) made.autosize.type = "fit-x"; // many results make a long legend, not a flat plot
  if ("layer" in made || "mark" in made) made.width = width;
  else eachPart(made, (part) => {
    if (typeof part.width !== "number") return;
    const left = part.width * share - AXIS * Math.max(0, 1 - share) - less;
    part.width = Math.max(NARROWEST, Math.round(left));
  });
  return made;
}

// One image with a name instead of a tree of marks, and a menu that says what it is.
function name(node, description) {
  const svg = node.querySelector("svg.marks"), menu = node.querySelector("summary");
  for (const part of svg?.querySelectorAll("[role], [aria-roledescription]") ?? []) {
    for (const each of ["role", "aria-roledescription", "aria-label"]) part.removeAttribute(each);
  }
  const texts = { role: "img", "aria-label": description || "Chart" };
  for (const [key, value] of Object.entries(texts)) svg?.setAttribute(key, value);
  svg?.removeAttribute("aria-roledescription");
  const words = "Save this chart, or see its specification";
  for (const key of ["title", "aria-label"]) menu?.setAttribute(key, words);
}

function render({ model, el }) {
  const frame = document.createElement("div");
  frame.className = "wb-chart-view";
  el.append(frame);
  let shown = null, turn = 0, drawn = "", waiting = 0, pending = 0;

  const count = (more) => frame.setAttribute("aria-busy", (pending += more) > 0);

  const put = (node, renderer) => {
    shown?.dispose();
    shown = renderer;
    frame.replaceChildren(...(node ? [node] : []));
  };
  const askForImage = (problem) => {
    console.info("workbench: no Vega on this page, an image instead", problem);
    model.send({ ask: "image" });
  };
  const keep = (svg) => {
    const drawing = svg ? new XMLSerializer().serializeToString(svg).replaceAll("currentColor", INK) : "";
    model.set("picture", drawing.length > MOST_KEPT ? "" : drawing);
    model.save_changes();
  };
  const make = async (spec, width, less = 0, passes = PASSES) => {
    const renderer = model.widget_manager.rendermime.createRenderer(MIMETYPE);
    const data = { [MIMETYPE]: fit(spec, width, less), "image/png": "none" }; // none is made then
    await renderer.renderModel({ data, setData() {}, ...OPTIONS });
    const drawn = renderer.node.querySelector("svg.marks")?.getAttribute("width") ?? 0;
    const over = drawn - width - OVERHANG;
    if (over <= 0 || passes === 1) return renderer;
    renderer.dispose();
    return make(spec, width, less + over, passes - 1);
  };
  const redraw = async () => {
    const spec = model.get("spec"), width = Math.min(frame.clientWidth, WIDEST) - MENU;
    const wanted = JSON.stringify([width, document.body.dataset.jpThemeLight, spec]);
    if (wanted === drawn || (spec.config && width <= 0)) return;
    const mine = ++turn;
    drawn = wanted;
    if (!spec.config) return put(null, null);
    try {
      const renderer = await make(spec, width);
      if (mine !== turn) return renderer.dispose();
      name(renderer.node, spec.description);
      put(renderer.node, renderer); // the one before stays until now
      if (model.get("keeps")) keep(renderer.node.querySelector("svg.marks"));
    } catch (problem) {
      if (mine === turn) askForImage(problem);
    }
  };
  const draw = async () => {
    count(1);
    await redraw();
    count(-1);
  };
  const later = () => {
    clearTimeout(waiting);
    if (!waiting) count(1);
    waiting = setTimeout(() => {
      waiting = 0;
      draw();
      count(-1);
    }, 100);
  };
  const receive = ({ image }) => {
    const copy = document.createElement("div");
    copy.innerHTML = image;
    put(copy, null);
  };
  const pick = ({ target }) => {
    const { datum } = target.__data__ ?? {}; // Vega's SVG marks hold what they show
    if (model.get("pickable") && datum) model.send({ datum: JSON.parse(JSON.stringify(datum)) });
  };
  const sized = new ResizeObserver(later), themed = new MutationObserver(later);
  sized.observe(frame);
  themed.observe(document.body, { attributeFilter: ["data-jp-theme-light"] });
  model.on("change:spec", draw);
  model.on("msg:custom", receive);
  frame.addEventListener("click", pick);
  frame.classList.toggle("wb-pickable", model.get("pickable"));
  draw();
  return () => {
    sized.disconnect();
    themed.disconnect();
    clearTimeout(waiting);
    model.off("change:spec", draw);
    model.off("msg:custom", receive);
    turn++;
    shown?.dispose();
  };
}

export default { render };

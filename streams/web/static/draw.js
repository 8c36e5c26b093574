// The drawings: the flow, in a wide and a narrow layout, and the chart. Elements are made once and then only updated.

const SVG = "http://www.w3.org/2000/svg";

export const EDGES = [
  // id, from, to, colour, word
  ["requests", "Requests", "Local model", "", "in"],
  ["local_results", "Local model", "Results", "local", "trusted"],
  ["local_doubtful", "Local model", "Remote model", "remote", "doubtful"],
  ["local_fallback", "Local model", "Fallback", "fallback", "no answer"],
  ["remote_answers", "Remote model", "Remote supervisor", "remote", "answers"],
  ["remote_fallback", "Remote model", "Fallback", "fallback", "no answer"],
  ["remote_supervisor_results", "Remote supervisor", "Results", "remote", "trusted"],
  ["remote_supervisor_fallback", "Remote supervisor", "Fallback", "fallback", "rejected"],
];

const NODES = {
  requests: ["Requests", "topic"],
  local: ["Local model", "agent"],
  remote: ["Remote model", "agent"],
  remote_supervisor: ["Remote supervisor", "agent"],
  results: ["Results", "topic"],
  fallback: ["Fallback", "topic"],
};

const LAYOUTS = {
  wide: {
    box: [1080, 330],
    size: [176, 60],
    nodes: {
      requests: [90, 42], local: [384, 42], results: [990, 42],
      remote: [486, 164], remote_supervisor: [816, 164], fallback: [990, 294],
    },
    edges: {
      requests: ["M178,42 H296", 237, 31, "middle"],
      local_results: ["M472,42 H902", 687, 31, "middle"],
      local_doubtful: ["M360,73 V148 q0,16 16,16 H398", 374, 124, "start"],
      local_fallback: ["M320,73 V278 q0,16 16,16 H902", 310, 204, "end"],
      remote_answers: ["M574,164 H720", 647, 152, "middle"],
      remote_fallback: ["M486,195 V278 q0,16 16,16 H902", 500, 248, "start"],
      remote_supervisor_results: ["M912,164 H974 q16,0 16,-16 V74", 980, 118, "end"],
      remote_supervisor_fallback: ["M816,195 V278 q0,16 16,16 H902", 830, 248, "start"],
    },
  },
  narrow: {
    box: [400, 592],
    size: [168, 58],
    nodes: {
      requests: [190, 32], local: [190, 152], remote: [190, 284], remote_supervisor: [190, 416],
      results: [92, 558], fallback: [308, 558],
    },
    edges: {
      requests: ["M190,62 V122", 200, 98, "start"],
      local_results: ["M106,152 H44 q-16,0 -16,16 V528", 36, 224, "start"],
      local_doubtful: ["M190,182 V254", 200, 224, "start"],
      local_fallback: ["M274,152 H356 q16,0 16,16 V528", 364, 208, "end"],
      remote_answers: ["M190,314 V386", 200, 356, "start"],
      remote_fallback: ["M274,284 H356 q16,0 16,16 V528", 364, 340, "end"],
      remote_supervisor_results: ["M142,446 V528", 150, 492, "start"],
      remote_supervisor_fallback: ["M246,446 V528", 254, 492, "start"],
    },
  },
};

const ROUTES = /^_(results|doubtful|answers|fallback)$/;
const writes = (agent, edge) => edge.startsWith(agent) && ROUTES.test(edge.slice(agent.length));

function make(name, attributes, ...children) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

function node(id, [x, y], [usual, height]) {
  const [title, kind] = NODES[id];
  const width = title.length > 14 ? usual + 16 : usual;
  const sub = make("text", { class: "sub", x, y: y + 18 });
  const group = make("g", { class: `${kind} n-${id}` },
    make("rect", { x: x - width / 2, y: y - height / 2, width, height, rx: kind === "topic" ? height / 2 : 12 }),
    make("text", { class: "title", x, y: y - 2 }), sub);
  group.querySelector(".title").textContent = title;
  return { group, sub };
}

function edge(id, colour, word, [d, x, y, anchor], stacked) {
  const rate = make("tspan", { class: "rate" });
  const name = make("tspan", stacked ? { class: "word", x, dy: 17 } : { class: "word", dx: 6 });
  name.textContent = word;
  const pipe = make("path", { class: "pipe", d });
  const group = make("g", { class: `edge c-${colour}` }, pipe, make("path", { class: "drops", d }),
    make("text", { class: "label", x, y, "text-anchor": anchor }, rate, name));
  return { id, group, pipe, rate };
}

/** Draws both layouts of the flow into `place`. Returns a function that updates the rates and the nodes' texts. */
export function drawFlow(place, format) {
  const pictures = Object.entries(LAYOUTS).map(([name, layout]) => {
    const nodes = Object.entries(layout.nodes).map(([id, at]) => ({ id, ...node(id, at, layout.size) }));
    const edges = EDGES.map(([id, , , colour, word]) => edge(id, colour, word, layout.edges[id], name === "narrow"));
    const label = "The flow of records. The same figures are in the table that follows.";
    place.append(make("svg", { class: name, viewBox: `0 0 ${layout.box.join(" ")}`, role: "img", "aria-label": label },
      ...edges.map((one) => one.group), ...nodes.map((one) => one.group)));
    return { nodes, edges };
  });
  return (rates, texts, agents) => {
    for (const { nodes, edges } of pictures) {
      for (const { id, group, pipe, rate } of edges) {
        const ours = agents.some((agent) => writes(agent, id)) || (id === "requests" && agents.includes("local"));
        showEdge(group, pipe, rate, rates[id] ?? (ours ? 0 : undefined), format);
      }
      for (const { id, group, sub } of nodes) {
        sub.textContent = texts[id] ?? "";
        group.classList.toggle("absent", NODES[id][1] === "agent" && !agents.includes(id));
      }
    }
  };
}

function showEdge(group, pipe, text, rate, format) {
  text.textContent = rate === undefined ? "–" : `${format(rate)}/s`;
  const moving = rate > 0.001;
  group.classList.toggle("moving", moving);
  group.classList.toggle("still", !moving);
  group.classList.toggle("fast", rate > 100);
  pipe.setAttribute("stroke-width", moving ? Math.min(14, 3 + 2.4 * Math.log10(1 + rate)) : 2);
}

const WIDTH = 600, HEIGHT = 140;

/** Draws stacked areas into `place`. Returns a function that takes rows of [local, remote, fallback]. */
export function drawChart(place, format) {
  const kinds = ["local", "remote", "fallback"];
  const areas = kinds.map((kind) => make("path", { class: kind }));
  const svg = make("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" }, ...areas,
    make("line", { x1: 0, x2: WIDTH, y1: HEIGHT, y2: HEIGHT }));
  const most = document.createElement("p");
  most.className = "most";
  place.append(most, svg);
  return (rows) => {
    const highest = Math.max(1, ...rows.map((row) => row.reduce((sum, value) => sum + value, 0)));
    let base = rows.map(() => 0);
    areas.forEach((area, kind) => {
      const top = rows.map((row, at) => base[at] + row[kind]);
      area.setAttribute("d", rows.length < 2 ? "" : outline(base, top, highest));
      base = top;
    });
    const last = base.length ? base[base.length - 1] : 0;
    most.textContent = `highest ${format(highest)}/s`;
    svg.setAttribute("aria-label", `Outcomes a second: ${format(last)} now, ${format(highest)} at most.`);
  };
}

function outline(base, top, highest) {
  const step = WIDTH / 120, right = WIDTH;
  const x = (at) => (right - (top.length - 1 - at) * step).toFixed(1);
  const y = (value) => (HEIGHT - (value / highest) * (HEIGHT - 4)).toFixed(1);
  const there = top.map((value, at) => `${x(at)},${y(value)}`);
  const back = base.map((value, at) => `${x(at)},${y(value)}`).reverse();
  return `M${there.concat(back).join("L")}Z`;
}

// One camera for both viewers: drag, arrow keys or buttons turn it; + and -, Ctrl and the wheel or
// two fingers zoom. A plain wheel and a vertical swipe are left to the page, which scrolls.
const camera = { azimuth: 35, elevation: 15, zoom: 1 };
const START = { ...camera };
const FOV = (40 * Math.PI) / 180;
const viewers = [];
let pending = 0;

function turn(azimuth, elevation, zoom = 1) {
  camera.azimuth = (((camera.azimuth + azimuth) % 360) + 360) % 360;
  camera.elevation = Math.min(85, Math.max(-85, camera.elevation + elevation));
  camera.zoom = Math.min(6, Math.max(0.6, camera.zoom * zoom));
  redraw();
}

function redraw() {
  pending = pending || requestAnimationFrame(() => {
    pending = 0;
    for (const { canvas, draw } of viewers) {
      const side = Math.round(canvas.clientWidth * Math.min(devicePixelRatio || 1, 2));
      if (!side) continue;
      if (canvas.width !== side) canvas.width = canvas.height = side;
      draw(side);
    }
  });
}

// Column-major 4 x 4: world (+Y up, the front towards +Z) to camera, `radius` filling the picture.
function lookAt(center, radius) {
  const [a, e] = [camera.azimuth, camera.elevation].map((degrees) => (degrees * Math.PI) / 180);
  const back = [Math.cos(e) * Math.sin(a), Math.sin(e), Math.cos(e) * Math.cos(a)];
  const right = [Math.cos(a), 0, -Math.sin(a)];
  const up = [-Math.sin(e) * Math.sin(a), Math.cos(e), -Math.sin(e) * Math.cos(a)];
  const distance = radius / Math.sin(FOV / 2) / camera.zoom;
  const rows = [right, up, back];
  const view = new Float32Array(16);
  rows.forEach((row, i) => {
    row.forEach((value, j) => { view[4 * j + i] = value; });
    view[12 + i] = -row.reduce((sum, value, j) => sum + value * center[j], 0);
  });
  view[14] -= distance;
  view[15] = 1;
  return { view, distance, focal: 1 / Math.tan(FOV / 2) };
}

function program(gl, vertex, fragment) {
  const made = gl.createProgram();
  for (const [kind, source] of [[gl.VERTEX_SHADER, vertex], [gl.FRAGMENT_SHADER, fragment]]) {
    const shader = gl.createShader(kind);
    gl.shaderSource(shader, `#version 300 es\nprecision highp float;\n${source}`);
    gl.compileShader(shader);
    gl.attachShader(made, shader);
  }
  gl.linkProgram(made);
  if (!gl.getProgramParameter(made, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(made));
  const uniform = {};
  for (let i = 0; i < gl.getProgramParameter(made, gl.ACTIVE_UNIFORMS); i++) {
    const { name } = gl.getActiveUniform(made, i);
    uniform[name] = gl.getUniformLocation(made, name);
  }
  return { made, uniform };
}

function bytesOf(link) {
  const text = atob(link.href.slice(link.href.indexOf(",") + 1));
  return Uint8Array.from(text, (letter) => letter.charCodeAt(0));
}

// Put a viewer in a figure's place; its picture stays where something is missing or fails.
async function viewer(id, sourceId, options, start) {
  const [figure, source] = [id, sourceId].map((name) => document.getElementById(name));
  if (!figure || !source) return;
  const canvas = document.createElement("canvas");
  try {
    const gl = canvas.getContext("webgl2", { antialias: true, premultipliedAlpha: true, ...options });
    if (!gl) return;
    viewers.push({ canvas, draw: await start(gl, bytesOf(source), figure) });
  } catch (error) {
    console.warn(id, error);
    return;
  }
  canvas.tabIndex = 0;
  canvas.setAttribute("role", "application");
  canvas.setAttribute("aria-label", figure.dataset.label);
  canvas.setAttribute("aria-describedby", "keys");
  canvas.addEventListener("webglcontextlost", () => { figure.classList.remove("live"); canvas.remove(); });
  figure.querySelector(".stage").append(canvas);
  figure.classList.add("live");
  document.getElementById("keys").hidden = false;
  listen(canvas);
  for (const [name, act] of [["closer", () => turn(0, 0, 1.25)], ["farther", () => turn(0, 0, 0.8)],
                             ["reset", () => { Object.assign(camera, START); redraw(); }]]) {
    figure.querySelector(`[data-act=${name}]`).addEventListener("click", act);
  }
  new ResizeObserver(redraw).observe(canvas);
  redraw();
}

function listen(canvas) {
  const fingers = new Map();
  const spread = () => {
    const [a, b] = [...fingers.values()];
    return Math.hypot(a.x - b.x, a.y - b.y);
  };
  canvas.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    const finger = fingers.get(event.pointerId);
    if (!finger) return;
    const [dx, dy] = [event.clientX - finger.x, event.clientY - finger.y];
    const before = fingers.size === 2 ? spread() : 0;
    Object.assign(finger, { x: event.clientX, y: event.clientY });
    if (before) turn(0, 0, spread() / before);
    else if (fingers.size === 1) turn(-0.5 * dx, 0.5 * dy);
  });
  for (const end of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(end, (event) => fingers.delete(event.pointerId));
  }
  canvas.addEventListener("wheel", (event) => {
    if (!event.ctrlKey) return; // the page scrolls
    event.preventDefault();
    turn(0, 0, Math.exp(-0.003 * event.deltaY));
  }, { passive: false });
  canvas.addEventListener("keydown", (event) => {
    const turns = { ArrowLeft: [-10, 0], ArrowRight: [10, 0], ArrowUp: [0, 10], ArrowDown: [0, -10],
                    "+": [0, 0, 1.25], "=": [0, 0, 1.25], "-": [0, 0, 0.8] }[event.key];
    if (!turns || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    turn(...turns);
  });
}

// Draws the mesh that stands in #mesh-data on #mesh; dragging turns it, the wheel zooms.
(function () {
  "use strict";
  const data = JSON.parse(document.getElementById("mesh-data").textContent);
  const canvas = document.getElementById("mesh");
  const gl = data && canvas.getContext("webgl2", { antialias: true });
  if (!gl) {
    canvas.parentElement.hidden = true;
    return;
  }
  const bytes = (text) => Uint8Array.from(atob(text), (c) => c.charCodeAt(0));

  const vertex = `#version 300 es
    in vec3 position; in vec3 normal; in vec3 color;
    uniform vec2 turn; uniform float near; out vec3 shade;
    vec3 rotate(vec3 p) {
      float c = cos(turn.x), s = sin(turn.x), d = cos(turn.y), t = sin(turn.y);
      p = vec3(c * p.x + s * p.z, p.y, c * p.z - s * p.x);
      return vec3(p.x, d * p.y - t * p.z, t * p.y + d * p.z);
    }
    void main() {
      vec3 p = rotate(position);
      float depth = near - p.z;
      gl_Position = vec4(2.75 * p.xy, 1.02 * depth - 0.4, depth);
      shade = color * (0.85 + 0.15 * rotate(normal).z);
    }`;
  const fragment = `#version 300 es
    precision mediump float; in vec3 shade; out vec4 pixel;
    void main() { pixel = vec4(shade, 1.0); }`;

  const program = gl.createProgram();
  for (const [kind, source] of [[gl.VERTEX_SHADER, vertex], [gl.FRAGMENT_SHADER, fragment]]) {
    const shader = gl.createShader(kind);
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    gl.attachShader(program, shader);
  }
  gl.linkProgram(program);
  gl.useProgram(program);

  function attribute(name, text, type, normalized) {
    gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
    gl.bufferData(gl.ARRAY_BUFFER, bytes(text), gl.STATIC_DRAW);
    const place = gl.getAttribLocation(program, name);
    gl.enableVertexAttribArray(place);
    gl.vertexAttribPointer(place, 3, type, normalized, 0, 0);
  }
  attribute("position", data.positions, gl.FLOAT, false);
  attribute("normal", data.normals, gl.FLOAT, false);
  attribute("color", data.colors, gl.UNSIGNED_BYTE, true);
  const indices = bytes(data.indices);
  gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, gl.createBuffer());
  gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, indices, gl.STATIC_DRAW);
  gl.enable(gl.DEPTH_TEST);
  gl.clearColor(0.93, 0.93, 0.92, 1.0);

  let yaw = -0.6, pitch = 0.3, distance = 3.2;
  function draw() {
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    gl.uniform2f(gl.getUniformLocation(program, "turn"), yaw, pitch);
    gl.uniform1f(gl.getUniformLocation(program, "near"), distance);
    gl.drawElements(gl.TRIANGLES, indices.length / 4, gl.UNSIGNED_INT, 0);
  }
  canvas.addEventListener("pointerdown", (event) => canvas.setPointerCapture(event.pointerId));
  canvas.addEventListener("pointermove", (event) => {
    if (!event.buttons) return;
    yaw += event.movementX * 0.01;
    pitch = Math.max(-1.5, Math.min(1.5, pitch + event.movementY * 0.01));
    requestAnimationFrame(draw);
  });
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    distance = Math.max(1.8, Math.min(8, distance * Math.exp(event.deltaY * 0.001)));
    requestAnimationFrame(draw);
  }, { passive: false });
  draw();
})();

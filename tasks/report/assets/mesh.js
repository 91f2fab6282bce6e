// Draws a GLB: lit, unlit or as triangles. Reads what glTF 2.0 says of meshes, of node transforms,
// of base colours (factor, texture, vertices), and of the extensions in KNOWN.
const MESH_VERTEX = `
uniform mat4 view, model;
uniform vec4 lens; // focal length, depth's scale and offset
uniform vec4 area; // the texture's scale and offset
in vec3 POSITION, NORMAL;
in vec4 COLOR_0;
in vec2 TEXCOORD_0;
out vec3 normal, place;
out vec4 tint;
out vec2 uv;
void main() {
  vec4 p = view * model * vec4(POSITION, 1.0);
  gl_Position = vec4(lens.x * p.xy, lens.y * p.z + lens.z, -p.z);
  place = p.xyz;
  normal = mat3(view) * mat3(model) * NORMAL;
  tint = COLOR_0;
  uv = TEXCOORD_0 * area.xy + area.zw;
}`;
const MESH_FRAGMENT = `
uniform sampler2D image;
uniform vec4 factor;
uniform int mode; // 0 lit, 1 unlit, 2 clay under lines, 3 lines
in vec3 normal, place;
in vec4 tint;
in vec2 uv;
out vec4 pixel;
vec3 display(vec3 light) {
  light = clamp(light, 0.0, 1.0);
  return mix(12.92 * light, 1.055 * pow(light, vec3(1.0 / 2.4)) - 0.055, step(0.0031308, light));
}
void main() {
  if (mode == 3) { pixel = vec4(vec3(0.05), 1.0) * 0.26; return; }
  vec3 base = (factor * tint).rgb * texture(image, uv).rgb;
  vec3 n = dot(normal, normal) > 0.0 ? normalize(gl_FrontFacing ? normal : -normal)
                                     : normalize(cross(dFdx(place), dFdy(place)));
  float key = max(dot(n, normalize(vec3(-0.45, 0.7, 0.75))), 0.0);
  float light = 0.32 + 0.13 * n.y + 0.75 * key;
  if (mode == 2) base = vec3(0.8);
  pixel = vec4(display(mode == 1 ? base : base * light), 1.0);
}`;
const SIZES = { SCALAR: 1, VEC2: 2, VEC3: 3, VEC4: 4, MAT4: 16 };
const ARRAYS = { 5120: Int8Array, 5121: Uint8Array, 5122: Int16Array, 5123: Uint16Array,
                 5125: Uint32Array, 5126: Float32Array };
const KNOWN = ["KHR_materials_unlit", "KHR_mesh_quantization", "KHR_texture_transform"]; // no rotation

function readGlb(bytes) {
  const words = new DataView(bytes.buffer, bytes.byteOffset);
  const length = words.getUint32(12, true);
  const tree = JSON.parse(new TextDecoder().decode(bytes.subarray(20, 20 + length)));
  const odd = (tree.extensionsRequired || []).filter((name) => !KNOWN.includes(name));
  if (odd.length) throw new Error(`needs ${odd}`);
  return { tree, binary: bytes.subarray(28 + length) };
}

function multiplied(a, b) {
  return Float32Array.from({ length: 16 }, (_, at) =>
    [0, 1, 2, 3].reduce((sum, k) => sum + a[4 * k + (at % 4)] * b[4 * (at >> 2) + k], 0));
}

function ownMatrix({ matrix, translation: t = [0, 0, 0], rotation: [x, y, z, w] = [0, 0, 0, 1], scale: s = [1, 1, 1] }) {
  if (matrix) return matrix;
  return [s[0] * (1 - 2 * (y * y + z * z)), s[0] * 2 * (x * y + w * z), s[0] * 2 * (x * z - w * y), 0,
          s[1] * 2 * (x * y - w * z), s[1] * (1 - 2 * (x * x + z * z)), s[1] * 2 * (y * z + w * x), 0,
          s[2] * 2 * (x * z + w * y), s[2] * 2 * (y * z - w * x), s[2] * (1 - 2 * (x * x + y * y)), 0,
          ...t, 1];
}

// Every primitive of the scene, with its matrix.
function primitives(tree) {
  const found = [];
  const walk = (index, above, depth) => {
    const node = tree.nodes[index];
    const model = multiplied(above, ownMatrix(node));
    const parts = node.mesh === undefined ? [] : tree.meshes[node.mesh].primitives;
    found.push(...parts.filter(({ mode = 4 }) => mode === 4).map((part) => ({ part, model })));
    if (depth < 20) for (const child of node.children || []) walk(child, model, depth + 1);
  };
  for (const index of tree.scenes[tree.scene || 0].nodes || []) walk(index, ownMatrix({}), 0);
  return found;
}

// An accessor's bytes, and how to read them.
function accessed({ tree, binary }, index) {
  const { bufferView, byteOffset = 0, componentType, type, count, normalized = false } = tree.accessors[index];
  const view = tree.bufferViews[bufferView];
  const start = (view.byteOffset || 0) + byteOffset;
  const bytes = binary.subarray(start, (view.byteOffset || 0) + view.byteLength);
  return { bytes, componentType, size: SIZES[type], count, normalized, stride: view.byteStride || 0 };
}

function ballOfAll(glb, parts) {
  const [low, high] = [[1e9, 1e9, 1e9], [-1e9, -1e9, -1e9]];
  for (const { part, model } of parts) {
    const { min, max, componentType, normalized } = glb.tree.accessors[part.attributes.POSITION];
    const unit = normalized ? { 5120: 127, 5121: 255, 5122: 32767, 5123: 65535 }[componentType] : 1;
    for (let bits = 0; bits < 8; bits++) {
      const corner = [0, 1, 2].map((axis) => ((bits >> axis) & 1 ? max : min)[axis] / unit);
      for (let axis = 0; axis < 3; axis++) {
        const at = model[12 + axis] + corner.reduce((sum, value, k) => sum + model[4 * k + axis] * value, 0);
        low[axis] = Math.min(low[axis], at);
        high[axis] = Math.max(high[axis], at);
      }
    }
  }
  return ballOf(low, high);
}

// The base colour's texture, or a white one.
async function baseTexture(gl, { tree, binary }, material) {
  const texture = gl.createTexture();
  const { index } = material.pbrMetallicRoughness?.baseColorTexture || {};
  const image = index === undefined ? null : tree.images[tree.textures[index].source];
  gl.bindTexture(gl.TEXTURE_2D, texture);
  if (!image) {
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, 1, 1, 0, gl.RGBA, gl.UNSIGNED_BYTE, new Uint8Array([255, 255, 255, 255]));
    return texture;
  }
  const { byteOffset = 0, byteLength } = tree.bufferViews[image.bufferView];
  const blob = new Blob([binary.slice(byteOffset, byteOffset + byteLength)], { type: image.mimeType });
  const picture = await createImageBitmap(blob, { premultiplyAlpha: "none", colorSpaceConversion: "none" });
  gl.bindTexture(gl.TEXTURE_2D, texture);
  gl.texImage2D(gl.TEXTURE_2D, 0, gl.SRGB8_ALPHA8, gl.RGBA, gl.UNSIGNED_BYTE, picture);
  gl.generateMipmap(gl.TEXTURE_2D);
  gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.LINEAR_MIPMAP_LINEAR);
  return texture;
}

// The triangles' edges as lines; [a, b, c] gives ab, bc, ca.
function edges(indices) {
  const lines = new Uint32Array(2 * indices.length);
  for (let i = 0; i < indices.length; i++) {
    lines[2 * i] = indices[i];
    lines[2 * i + 1] = indices[i % 3 === 2 ? i - 2 : i + 1];
  }
  return lines;
}

async function upload(gl, made, glb, { part, model }) {
  const vao = gl.createVertexArray();
  gl.bindVertexArray(vao);
  gl.vertexAttrib4f(gl.getAttribLocation(made, "COLOR_0"), 1, 1, 1, 1);
  for (const name of ["POSITION", "NORMAL", "COLOR_0", "TEXCOORD_0"]) {
    const at = gl.getAttribLocation(made, name);
    if (at < 0 || part.attributes[name] === undefined) continue;
    const { bytes, size, componentType, normalized, stride } = accessed(glb, part.attributes[name]);
    gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
    gl.bufferData(gl.ARRAY_BUFFER, bytes, gl.STATIC_DRAW);
    gl.enableVertexAttribArray(at);
    gl.vertexAttribPointer(at, size, componentType, normalized, stride, 0);
  }
  const count = glb.tree.accessors[part.attributes.POSITION].count;
  let indices = Uint32Array.from({ length: part.indices === undefined ? count : 0 }, (_, i) => i);
  if (part.indices !== undefined) {
    const { bytes, componentType, count: length } = accessed(glb, part.indices);
    const Kind = ARRAYS[componentType];
    indices = Uint32Array.from(new Kind(bytes.slice(0, length * Kind.BYTES_PER_ELEMENT).buffer));
  }
  const lines = edges(indices);
  const buffers = [indices, lines].map((values) => {
    const buffer = gl.createBuffer();
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, buffer);
    gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, values, gl.STATIC_DRAW);
    return { buffer, length: values.length };
  });
  const material = glb.tree.materials?.[part.material] || {};
  const factor = material.pbrMetallicRoughness?.baseColorFactor || [1, 1, 1, 1];
  const { scale = [1, 1], offset = [0, 0] } =
    material.pbrMetallicRoughness?.baseColorTexture?.extensions?.KHR_texture_transform || {};
  return { vao, model, buffers, factor, area: [...scale, ...offset], texture: await baseTexture(gl, glb, material) };
}

async function meshViewer(gl, bytes, figure) {
  const glb = readGlb(bytes);
  const found = primitives(glb.tree);
  const { center, radius } = ballOfAll(glb, found);
  const { made, uniform } = program(gl, MESH_VERTEX, MESH_FRAGMENT);
  const parts = [];
  for (const one of found) parts.push(await upload(gl, made, glb, one));
  const modes = [...figure.querySelectorAll("input[name=shading]")];
  const unlit = (glb.tree.materials || []).some(({ extensions }) => extensions?.KHR_materials_unlit);
  modes.find(({ value }) => value === (unlit ? "unlit" : "lit")).checked = true;
  for (const mode of modes) mode.addEventListener("change", redraw);
  gl.useProgram(made);
  gl.enable(gl.DEPTH_TEST);
  gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
  gl.polygonOffset(1, 1);

  function pass({ vao, model, buffers, factor, area, texture }, mode) {
    const lines = mode === 3;
    gl[lines ? "enable" : "disable"](gl.BLEND);
    gl[mode === 2 ? "enable" : "disable"](gl.POLYGON_OFFSET_FILL);
    gl.depthFunc(lines ? gl.LEQUAL : gl.LESS);
    gl.bindVertexArray(vao);
    gl.bindTexture(gl.TEXTURE_2D, texture);
    gl.uniform1i(uniform.mode, mode);
    gl.uniform4fv(uniform.factor, factor);
    gl.uniform4fv(uniform.area, area);
    gl.uniformMatrix4fv(uniform.model, false, model);
    const { buffer, length } = buffers[lines ? 1 : 0];
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, buffer);
    gl.drawElements(lines ? gl.LINES : gl.TRIANGLES, length, gl.UNSIGNED_INT, 0);
  }
  return (side) => {
    const { view, distance, focal } = lookAt(center, radius);
    const [near, far] = [Math.max(distance - 1.1 * radius, distance * 0.02), distance + 1.1 * radius];
    const shading = modes.find(({ checked }) => checked).value;
    gl.viewport(0, 0, side, side);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    gl.uniformMatrix4fv(uniform.view, false, view);
    gl.uniform4f(uniform.lens, focal, -(far + near) / (far - near), (-2 * far * near) / (far - near), 0);
    for (const part of parts) {
      for (const mode of { lit: [0], unlit: [1], wireframe: [2, 3] }[shading]) pass(part, mode);
    }
  };
}

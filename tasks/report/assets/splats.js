// Draws the compressed PLY (tasks/report/packed.py): each Gaussian a quad as its projection, far to
// near (3D Gaussian Splatting; Zwicker et al. 2001). Its +Y is down, so y and z are turned over.
const SPLAT_VERTEX = `
uniform highp sampler2D data;
uniform mat4 view;
uniform vec2 lens; // focal length over the half picture; pixels of half a side
in vec2 corner;
in uint index;
out vec2 at;
out vec4 color;
void main() {
  ivec2 cell = ivec2(int(index % 512u) * 4, int(index / 512u));
  vec4 a = texelFetch(data, cell, 0), b = texelFetch(data, cell + ivec2(1, 0), 0);
  vec4 c = texelFetch(data, cell + ivec2(2, 0), 0), d = texelFetch(data, cell + ivec2(3, 0), 0);
  vec3 p = (view * vec4(a.xyz, 1.0)).xyz;
  gl_Position = vec4(0.0, 0.0, 2.0, 1.0);
  if (p.z > -0.05 || a.w < 0.004) return;
  mat3 sigma = mat3(b.x, b.y, b.z, b.y, b.w, c.x, b.z, c.x, c.y);
  float f = lens.x * lens.y;
  mat3 J = mat3(-f / p.z, 0, 0, 0, -f / p.z, 0, f * p.x / (p.z * p.z), f * p.y / (p.z * p.z), 0);
  mat3 T = J * mat3(view);
  mat3 seen = T * sigma * transpose(T);
  float xx = seen[0][0] + 0.3, yy = seen[1][1] + 0.3, xy = seen[0][1];
  float mid = 0.5 * (xx + yy), off = length(vec2(0.5 * (xx - yy), xy));
  vec2 axis = off < 1e-6 ? vec2(1, 0) : normalize(vec2(xy, mid + off - xx));
  if (abs(xy) < 1e-6) axis = xx >= yy ? vec2(1, 0) : vec2(0, 1);
  float reach = sqrt(2.0 * log(a.w * 255.0));
  at = corner * reach;
  vec2 pixels = at.x * sqrt(mid + off) * axis
              + at.y * sqrt(max(mid - off, 0.0)) * vec2(-axis.y, axis.x);
  gl_Position = vec4(lens.x * p.xy / -p.z + pixels / lens.y, 0.0, 1.0);
  color = vec4(d.rgb, a.w);
}`;
const SPLAT_FRAGMENT = `
in vec2 at;
in vec4 color;
out vec4 pixel;
void main() {
  float alpha = min(0.999, color.a * exp(-0.5 * dot(at, at)));
  if (alpha < 1.0 / 255.0) discard;
  pixel = vec4(color.rgb * alpha, alpha);
}`;

// The file as texels: mean and opacity, covariance, colour, 16 floats a Gaussian.
function unpack(bytes) {
  const text = new TextDecoder().decode(bytes.subarray(0, 2000));
  const start = text.indexOf("end_header\n") + 11;
  const [chunks, count] = [/element chunk (\d+)/, /element vertex (\d+)/].map((is) => +text.match(is)[1]);
  const body = bytes.slice(start);
  const bounds = new Float32Array(body.buffer, 0, 18 * chunks);
  const words = new Uint32Array(body.buffer, 72 * chunks, 4 * count);
  const texels = new Float32Array(512 * 16 * Math.ceil(Math.max(count, 1) / 512));
  const three = (word, chunk, first) => {
    const parts = [(word >>> 21) / 2047, ((word >>> 11) & 1023) / 1023, (word & 2047) / 2047];
    return parts.map((part, i) => mix(bounds, 18 * chunk + first + i, part));
  };
  for (let i = 0; i < count; i++) {
    const [place, rotation, size, color] = words.subarray(4 * i, 4 * i + 4);
    const chunk = i >> 8;
    const mean = three(place, chunk, 0);
    const scale = three(size, chunk, 6).map(Math.exp);
    const small = [20, 10, 0].map((bit) => (((rotation >>> bit) & 1023) / 1023 - 0.5) * Math.SQRT2);
    const largest = Math.sqrt(Math.max(0, 1 - small.reduce((sum, value) => sum + value * value, 0)));
    small.splice(rotation >>> 30, 0, largest);
    const rgb = [24, 16, 8].map((bit, j) => mix(bounds, 18 * chunk + 12 + j, ((color >>> bit) & 255) / 255));
    const [xx, xy, xz, yy, yz, zz] = covariance(small, scale);
    texels.set([mean[0], -mean[1], -mean[2], (color & 255) / 255,
                xx, -xy, -xz, yy, yz, zz, 0, 0, ...rgb, 0], 16 * i);
  }
  return { texels, count };
}

function mix(bounds, at, part) {
  return bounds[at] + (bounds[at + 3] - bounds[at]) * part;
}

function covariance([w, x, y, z], scale) {
  const R = [[1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
             [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
             [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)]];
  const entry = (i, j) => R[i].reduce((sum, value, k) => sum + value * R[j][k] * scale[k] ** 2, 0);
  return [entry(0, 0), entry(0, 1), entry(0, 2), entry(1, 1), entry(1, 2), entry(2, 2)];
}

// The middle and the radius of what is solid, to two standard deviations: there the mesh ends.
function solidBall({ texels, count }) {
  const [low, high] = [[1e9, 1e9, 1e9], [-1e9, -1e9, -1e9]];
  for (let i = 0; i < count; i++) {
    if (texels[16 * i + 3] < 0.5) continue;
    [4, 7, 9].forEach((diagonal, axis) => {
      const reach = 2 * Math.sqrt(texels[16 * i + diagonal]);
      low[axis] = Math.min(low[axis], texels[16 * i + axis] - reach);
      high[axis] = Math.max(high[axis], texels[16 * i + axis] + reach);
    });
  }
  return low[0] > high[0] ? { center: [0, 0, 0], radius: 1 } : ballOf(low, high);
}

function ballOf(low, high) {
  const half = low.map((value, axis) => (high[axis] - value) / 2);
  return { center: low.map((value, axis) => value + half[axis]), radius: Math.hypot(...half) || 1 };
}

// Indices from far to near: sorted by counting over 65,536 depths.
function sorted({ texels, count }, view, order) {
  const depths = new Float32Array(count);
  let [low, high] = [Infinity, -Infinity];
  for (let i = 0; i < count; i++) {
    const at = 16 * i;
    const depth = view[2] * texels[at] + view[6] * texels[at + 1] + view[10] * texels[at + 2];
    depths[i] = depth;
    if (depth < low) low = depth;
    if (depth > high) high = depth;
  }
  const scale = 65535 / Math.max(high - low, 1e-9);
  const starts = new Uint32Array(65537);
  for (let i = 0; i < count; i++) starts[1 + ((depths[i] - low) * scale | 0)]++;
  for (let i = 0; i < 65536; i++) starts[i + 1] += starts[i];
  for (let i = 0; i < count; i++) order[starts[(depths[i] - low) * scale | 0]++] = i;
  return order;
}

function splatViewer(gl, bytes) {
  const splats = unpack(bytes);
  const { center, radius } = solidBall(splats);
  const { made, uniform } = program(gl, SPLAT_VERTEX, SPLAT_FRAGMENT);
  gl.bindTexture(gl.TEXTURE_2D, gl.createTexture());
  gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA32F, 2048, splats.texels.length / 8192, 0, gl.RGBA, gl.FLOAT, splats.texels);
  gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.NEAREST);
  gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, gl.NEAREST);
  const corner = gl.getAttribLocation(made, "corner");
  gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
  gl.bufferData(gl.ARRAY_BUFFER, new Float32Array([-1, -1, 1, -1, -1, 1, 1, 1]), gl.STATIC_DRAW);
  gl.enableVertexAttribArray(corner);
  gl.vertexAttribPointer(corner, 2, gl.FLOAT, false, 0, 0);
  const index = gl.getAttribLocation(made, "index");
  gl.bindBuffer(gl.ARRAY_BUFFER, gl.createBuffer());
  gl.enableVertexAttribArray(index);
  gl.vertexAttribIPointer(index, 1, gl.UNSIGNED_INT, 0, 0);
  gl.vertexAttribDivisor(index, 1);
  gl.enable(gl.BLEND);
  gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
  gl.useProgram(made);
  const order = new Uint32Array(splats.count);
  return (side) => {
    const { view, focal } = lookAt(center, radius);
    gl.bufferData(gl.ARRAY_BUFFER, sorted(splats, view, order), gl.DYNAMIC_DRAW);
    gl.viewport(0, 0, side, side);
    gl.clear(gl.COLOR_BUFFER_BIT);
    gl.uniformMatrix4fv(uniform.view, false, view);
    gl.uniform2f(uniform.lens, focal, side / 2);
    gl.drawArraysInstanced(gl.TRIANGLE_STRIP, 0, 4, splats.count);
  };
}

// Open one file in one program, as that program's own documentation does, and post its picture.
//
// page.html?viewer=NAME&file=URL&position=x,y,z&up=x,y,z&target=x,y,z: the camera, what is up and what
// it looks at in the program's world, after the rotation that the program (or its documentation) gives
// such a file.

const SIDE = 256, FOV = 40;
const query = new URLSearchParams(location.search);
const file = query.get("file"), numbers = (key) => query.get(key).split(",").map(Number);
const box = document.getElementById("box");

async function camera(THREE) {
  const made = new THREE.PerspectiveCamera(FOV, 1, 0.01, 100);
  made.position.set(...numbers("position"));
  made.up.set(...numbers("up"));
  made.lookAt(...numbers("target"));
  return made;
}

const settled = (count) => new Promise((done) => {
  const next = () => (count-- > 0 ? requestAnimationFrame(next) : done());
  next();
});

// Files of 3DGS are upside down in a world with +Y up; every page of Spark's and three's turns them.
function turned(object) {
  if (query.has("turn")) object.quaternion.set(1, 0, 0, 0);
  return object;
}

async function spark() {
  const THREE = await import("three");
  const { SparkRenderer, SplatMesh } = await import("/node_modules/@sparkjsdev/spark/dist/spark.module.js");
  const renderer = new THREE.WebGLRenderer({ antialias: false });
  renderer.setSize(SIDE, SIDE, false);
  const scene = new THREE.Scene(), view = await camera(THREE);
  scene.add(new SparkRenderer({ renderer }));
  const mesh = turned(new SplatMesh({ url: file }));
  scene.add(mesh);
  await mesh.initialized;
  for (let frame = 0; frame < 30; frame++) {
    renderer.render(scene, view);
    await settled(2);  // it sorts beside
  }
  renderer.render(scene, view);
  return renderer.domElement.toDataURL();
}

async function three() {
  const THREE = await import("three/webgpu");
  const renderer = new THREE.WebGPURenderer({ forceWebGL: true });
  await renderer.init();
  if (query.has("splats")) renderer.outputColorSpace = THREE.LinearSRGBColorSpace;
  renderer.setSize(SIDE, SIDE, false);
  const scene = new THREE.Scene();
  scene.add(turned(await loaded(THREE)));
  const view = await camera(THREE);
  for (let frame = 0; frame < 10; frame++) {
    renderer.render(scene, view);
    await settled(2);
  }
  renderer.render(scene, view);
  return renderer.domElement.toDataURL();
}

async function loaded(THREE) {
  const addon = (name) => import(`three/addons/${name}.js`);
  const { GaussianSplat } = await addon("objects/GaussianSplat");
  if (file.endsWith(".spz")) {
    const { SPZLoader } = await addon("loaders/SPZLoader");
    return new GaussianSplat(await new SPZLoader().loadAsync(file));
  }
  if (file.endsWith(".ply")) {
    const { GaussianSplatPLYLoader } = await addon("loaders/GaussianSplatPLYLoader");
    return new GaussianSplat(await new GaussianSplatPLYLoader().loadAsync(file));
  }
  if (file.endsWith(".glb")) {
    const { GLTFLoader } = await addon("loaders/GLTFLoader");
    const { GLTFGaussianSplatLoaderExtension } = await addon("loaders/GLTFGaussianSplatLoaderExtension");
    const loader = new GLTFLoader();
    loader.register((parser) => new GLTFGaussianSplatLoaderExtension(parser));
    const { MeshoptDecoder } = await addon("libs/meshopt_decoder.module");
    loader.setMeshoptDecoder(MeshoptDecoder);
    return lit(THREE, (await loader.loadAsync(file)).scene);
  }
  if (file.endsWith(".usdz")) {
    const { USDLoader } = await addon("loaders/USDLoader");
    return lit(THREE, await new USDLoader().loadAsync(file));
  }
  if (file.endsWith(".obj")) {
    const { OBJLoader } = await addon("loaders/OBJLoader");
    const { MTLLoader } = await addon("loaders/MTLLoader");
    const loader = new OBJLoader(), materials = query.get("materials");
    if (materials) loader.setMaterials(await new MTLLoader().loadAsync(materials));
    return lit(THREE, await loader.loadAsync(file));
  }
  const { STLLoader } = await addon("loaders/STLLoader");
  const material = new THREE.MeshLambertMaterial({ color: 0xffffff });
  return lit(THREE, new THREE.Mesh(await new STLLoader().loadAsync(file), material));
}

// White from everywhere: what a material says of its own colour.
function lit(THREE, object) {
  const group = new THREE.Group();
  group.add(object, new THREE.AmbientLight(0xffffff, Math.PI));
  return group;
}

async function supersplat() {
  const { createViewer } = await import("/node_modules/@playcanvas/supersplat-viewer/dist/viewer.js");
  box.style.cssText = `width:${SIDE}px;height:${SIDE}px`;
  const off = { enabled: false };
  const settings = {
    version: 2, tonemapping: "none", highPrecisionRendering: false,
    background: { color: [0, 0, 0] },
    postEffectSettings: {
      sharpness: { ...off, amount: 0 }, bloom: { ...off, intensity: 0, blurLevel: 0 },
      grading: { ...off, brightness: 1, contrast: 1, saturation: 1, tint: [1, 1, 1] },
      vignette: { ...off, intensity: 0, inner: 0, outer: 0, curvature: 0 },
      fringing: { ...off, intensity: 0 },
    },
    animTracks: [], annotations: [], startMode: "default",
    cameras: [{ initial: { position: numbers("position"), target: numbers("target"), fov: FOV } }],
  };
  const viewer = await createViewer({
    container: box, settings, contentUrl: file, webgl: true, ui: false, noanim: true, nofx: true,
  });
  const frame = await viewer.captureFrame({ width: SIDE, height: SIDE, supersample: 1 });
  const bytes = Uint8ClampedArray.from(atob(frame.data), (letter) => letter.charCodeAt(0));
  if (bytes.length !== SIDE * SIDE * 4) return `data:;base64,${frame.data}`;
  const canvas = Object.assign(document.createElement("canvas"), { width: SIDE, height: SIDE });
  canvas.getContext("2d").putImageData(new ImageData(bytes, SIDE, SIDE), 0, 0);
  return canvas.toDataURL();
}

async function modelviewer() {
  await import("/node_modules/@google/model-viewer/dist/model-viewer.min.js");
  const target = numbers("target");
  const [x, y, z] = numbers("position").map((value, axis) => value - target[axis]);
  const distance = Math.hypot(x, y, z);
  const theta = Math.atan2(x, z), phi = Math.acos(y / distance);
  const element = Object.assign(document.createElement("model-viewer"), {
    src: file, alt: "", cameraTarget: target.map((value) => `${value}m`).join(" "), fieldOfView: `${FOV}deg`,
    cameraOrbit: `${theta}rad ${phi}rad ${distance}m`, minCameraOrbit: "auto auto 0.1m",
    maxCameraOrbit: "auto auto 100m", interactionPrompt: "none", shadowIntensity: 0,
    toneMapping: "linear", minFieldOfView: "1deg", maxFieldOfView: "90deg",
  });
  document.body.replaceChildren(element);
  await new Promise((done) => element.addEventListener("load", done));
  element.jumpCameraToGoal();
  await settled(20);
  return element.toDataURL();
}

const viewers = { spark, three, supersplat, modelviewer };
const post = (body) => fetch("/picture", { method: "POST", body });
addEventListener("unhandledrejection", (event) => post(`error: ${event.reason?.stack ?? event.reason}`));
addEventListener("error", (event) => post(`error: ${event.message} ${event.filename}:${event.lineno}`));
try {
  post(await viewers[query.get("viewer")]());
} catch (error) {
  post(`error: ${error.stack ?? error}`);
}

"""USDZ of a finished mesh, with Pixar's OpenUSD: for Apple's AR Quick Look and USD programs.

Axes, origin and metres as in mesh.glb: +Y up, the front towards +Z. Colours of a lit surface are
its diffuse ones; where the light is in the colours they are emitted, because USD's preview surface
knows no unlit material.
"""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from stabledreamer_core.assets.mesh.glb import Surface, srgb_to_linear, to_gltf_axes
from stabledreamer_core.files import atomic_write


def save_usdz(surface: Surface, path: Path) -> None:
    """Write one mesh with its texture, or with linear colours on its vertices (displayColor).

    Raises:
        UserError: `path` cannot be written.
    """
    from pxr import Sdf, Tf, Usd, UsdGeom, UsdUtils

    with tempfile.TemporaryDirectory() as folder, atomic_write(path) as temporary:
        file = f"{folder}/mesh.usdc"
        stage = Usd.Stage.CreateNew(file)
        UsdGeom.SetStageUpAxis(stage, UsdGeom.Tokens.y)
        UsdGeom.SetStageMetersPerUnit(stage, 1.0)
        root = f"/{Tf.MakeValidIdentifier(surface.name)}"
        stage.SetDefaultPrim(UsdGeom.Xform.Define(stage, root).GetPrim())
        mesh = UsdGeom.Mesh.Define(stage, f"{root}/mesh")
        _shape(mesh, surface)
        if surface.texture is not None:
            Image.fromarray(surface.texture).save(f"{folder}/texture.png")
        _paint(stage, root, mesh, surface)
        stage.GetRootLayer().Save()
        del stage
        UsdUtils.CreateNewUsdzPackage(Sdf.AssetPath(file), str(temporary))


def _shape(mesh: Any, surface: Surface) -> None:
    from pxr import UsdGeom, Vt

    points = to_gltf_axes(surface.place.to_file(surface.vertices)).astype(np.float32)
    normals = to_gltf_axes(surface.normals).astype(np.float32)
    faces = np.asarray(surface.faces, np.int32)
    mesh.CreateSubdivisionSchemeAttr(UsdGeom.Tokens.none)
    mesh.CreatePointsAttr(Vt.Vec3fArray.FromNumpy(points))
    mesh.CreateNormalsAttr(Vt.Vec3fArray.FromNumpy(normals))
    mesh.SetNormalsInterpolation(UsdGeom.Tokens.vertex)
    mesh.CreateFaceVertexCountsAttr(Vt.IntArray.FromNumpy(np.full(len(faces), 3, np.int32)))
    mesh.CreateFaceVertexIndicesAttr(Vt.IntArray.FromNumpy(faces.reshape(-1)))
    box = np.stack([points.min(0), points.max(0)])
    mesh.CreateExtentAttr(Vt.Vec3fArray.FromNumpy(box))


def _paint(stage: Any, root: str, mesh: Any, surface: Surface) -> None:
    """A preview surface with the texture, or the colours on the vertices."""
    from pxr import Sdf, UsdGeom, UsdShade, Vt

    types, each = Sdf.ValueTypeNames, UsdGeom.Tokens.vertex
    material = UsdShade.Material.Define(stage, f"{root}/material")
    shader = UsdShade.Shader.Define(stage, f"{root}/material/surface")
    reader = UsdShade.Shader.Define(stage, f"{root}/material/color")
    primvars = UsdGeom.PrimvarsAPI(mesh)
    if surface.texture is not None and surface.uvs is not None:
        uvs = (surface.uvs * (1, -1) + (0, 1)).astype(np.float32)
        st = primvars.CreatePrimvar("st", types.TexCoord2fArray, each)
        st.Set(Vt.Vec2fArray.FromNumpy(uvs))
        place = UsdShade.Shader.Define(stage, f"{root}/material/uv")
        place.CreateIdAttr("UsdPrimvarReader_float2")
        place.CreateInput("varname", types.String).Set("st")
        reader.CreateIdAttr("UsdUVTexture")
        reader.CreateInput("file", types.Asset).Set("./texture.png")
        reader.CreateInput("sourceColorSpace", types.Token).Set("sRGB")
        at = place.CreateOutput("result", types.Float2)
        reader.CreateInput("st", types.Float2).ConnectToSource(at)
        color = reader.CreateOutput("rgb", types.Float3)
    else:
        light = srgb_to_linear(np.asarray(surface.colors).clip(0.0, 1.0)).astype(np.float32)
        primvars.CreatePrimvar("displayColor", types.Color3fArray, each).Set(
            Vt.Vec3fArray.FromNumpy(light)
        )
        reader.CreateIdAttr("UsdPrimvarReader_float3")
        reader.CreateInput("varname", types.String).Set("displayColor")
        color = reader.CreateOutput("result", types.Float3)
    shader.CreateIdAttr("UsdPreviewSurface")
    shown, black = ("diffuseColor", "emissiveColor")[:: 1 if surface.lit else -1]
    shader.CreateInput(black, types.Color3f).Set((0.0, 0.0, 0.0))
    shader.CreateInput("roughness", types.Float).Set(1.0)
    shader.CreateInput(shown, types.Color3f).ConnectToSource(color)
    material.CreateSurfaceOutput().ConnectToSource(shader.CreateOutput("surface", types.Token))
    UsdShade.MaterialBindingAPI.Apply(mesh.GetPrim()).Bind(material)

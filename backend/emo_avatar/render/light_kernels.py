"""The inner loops of the mesh view: what a surface shows, how much light reaches it, and what it sends to the viewer.

They work on samples, the covered ones of a picture's pixels, sixteen at a time; the arrays of samples are padded to
whole vectors. Threads that run a kernel together share a counter and claim pieces of the work from it.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import numpy as np
from llvmlite import ir

from emo_avatar.render.splat.compiled import kernel
from emo_avatar.render.splat.simd import LANES, Emitter, Lanes, Mask, Register, emitted
from emo_avatar.render.splat.threads import claim, share_out

PIECE = 2048  # samples that a thread claims at a time, whole vectors

# The columns of what is interpolated over the mesh, [., 16]
POINT, NORMAL, MOUTH_DEPTH, FOLDING, MATERIAL, SURFACE = 0, 3, 6, 7, 10, 16

OCCLUSION_RADII = (0.006, 0.022)  # metres: folds and lids; the hollows of the face
OCCLUSION_GAIN = 1.9
FACET_MARGIN = 0.12  # sine of an angle by which the facets of the mesh may rise above the tangent plane
PENUMBRA = 0.007  # metres, radius over which the key light's shadow is soft
SHADOW_BIAS = 0.003  # metres
MOUTH_FALL = 0.028  # metres from the lips over which light falls to 1 / e
CREVICE = (0.78, 1.0, 1.06)  # exponents of occlusion by colour: light that skin hides stays red
FILM, FILM_SHARE = 0.65, 0.22  # the oily film on skin: its roughness against the skin's, its share of the shine
RELIEF = 0.0012  # metres by which white stands above black in the texture: its dark specks are pores
FOLD_DEPTH, FOLD_SHADE = 0.0012, 0.45  # metres; share of the sky that a full fold hides
STEEPEST = 0.5  # slope of all relief
KNEE = 0.72  # of full brightness, above which highlights roll off
SMALLEST = 1e-6
LOG2_E = math.log2(math.e)

# Where samples are taken in the unit disc: a golden-angle spiral.
TAPS = 10
_RADIUS = [math.sqrt((k + 0.5) / TAPS) for k in range(TAPS)]
_ANGLE = [k * math.pi * (3 - math.sqrt(5)) for k in range(TAPS)]
SPIRAL = [p for r, a in zip(_RADIUS, _ANGLE, strict=True) for p in (r * math.cos(a), r * math.sin(a))]

# The numbers of a view, as `illuminate` reads them: the camera's position and rotation, its focal length and image
# size in pixels; the key light's world-to-camera rows, focal length, centre and image size; then, of each lamp, the
# direction and the colour; the ambient light's nine terms by colour
LAMP_COUNT = 3
VIEW_NUMBERS = 3 + 9 + 3 + 12 + 1 + 2 + 1 + 6 * LAMP_COUNT + 27


@kernel
def interpolate_surface(counter, pixels, face, barycentric, attributes, faces, seen):
    """``attributes [V, 16]`` at samples: ``seen [N, 16]``; ``pixels [N]`` index the flattened image."""
    while True:
        start = claim(counter) * PIECE
        if start >= len(pixels):
            break
        for i in range(start, min(start + PIECE, len(pixels))):
            pixel = pixels[i]
            corner = faces[face[pixel]]
            a, b, c = corner[0] * SURFACE, corner[1] * SURFACE, corner[2] * SURFACE
            _blend_rows(attributes, a, b, c, barycentric, pixel * 3, seen, i * SURFACE)


@emitted()
def _blend_rows(emit: Emitter, rows, a, b, c, weights, first, out, index):
    """Three rows of sixteen floats, weighted by the three numbers from ``first`` on."""
    weight = [emit.broadcast(emit.load_scalar(emit.offset(weights, first), k)) for k in range(3)]
    mixed = weight[0] * emit.load(rows, a) + weight[1] * emit.load(rows, b) + weight[2] * emit.load(rows, c)
    emit.store(mixed, out, index)


@kernel
def paint(counter, pixels, face, barycentric, uv, uv_faces, texture, wrinkles, has_relief, seen, albedo, fold, height):
    """Colour, folds and relief of samples from textures ``[h, w, 3]``.

    ``has_relief [F] bool`` tells faces of skin. Results: ``albedo [N, 3]``, ``fold [N]`` and, in the flattened image,
    ``height`` in metres.
    """
    while True:
        start = claim(counter) * PIECE
        if start >= len(pixels):
            break
        for i in range(start, min(start + PIECE, len(pixels))):
            pixel = pixels[i]
            t = face[pixel]
            u = v = np.float32(0.0)
            for k in range(3):
                weight = barycentric[pixel, k]
                u += weight * uv[uv_faces[t, k], 0]
                v += weight * uv[uv_faces[t, k], 1]
            x0, y0, fx, fy = texel(texture, u, v)
            for c in range(3):
                albedo[i, c] = mixed_texel(texture, x0, y0, fx, fy, c)
            deepest = np.float32(0.0)
            for c in range(3):
                folding = seen[i, FOLDING + c]
                if folding > 0:
                    wx, wy, wfx, wfy = texel(wrinkles, u, v)
                    deepest = max(deepest, folding * mixed_texel(wrinkles, wx, wy, wfx, wfy, c))
            fold[i] = deepest
            if has_relief[t]:
                height[pixel] = RELIEF * math.sqrt(albedo[i, 1]) - FOLD_DEPTH * deepest


@kernel
def multiply(counter, pixels, face, barycentric, factors, faces, albedo):
    """Multiply ``albedo [N, 3]`` of samples by the vertices' ``factors [V, 3]``, interpolated."""
    while True:
        start = claim(counter) * PIECE
        if start >= len(pixels):
            break
        for i in range(start, min(start + PIECE, len(pixels))):
            pixel = pixels[i]
            t = face[pixel]
            a, b, c = faces[t, 0], faces[t, 1], faces[t, 2]
            wa, wb, wc = barycentric[pixel, 0], barycentric[pixel, 1], barycentric[pixel, 2]
            for k in range(3):
                albedo[i, k] *= wa * factors[a, k] + wb * factors[b, k] + wc * factors[c, k]


@kernel
def texel(texture, u, v):
    """The texel below and left of a point of a texture, and the point's place between it and the next; v points up."""
    x = min(max(u * texture.shape[1] - 0.5, 0.0), texture.shape[1] - 1.001)
    y = min(max((1.0 - v) * texture.shape[0] - 0.5, 0.0), texture.shape[0] - 1.001)
    x0, y0 = int(x), int(y)
    return x0, y0, np.float32(x - x0), np.float32(y - y0)


@kernel
def mixed_texel(texture, x0, y0, fx, fy, c):
    """Bilinear interpolation between four texels."""
    one = np.float32(1.0)
    top = texture[y0, x0, c] * (one - fx) + texture[y0, x0 + 1, c] * fx
    bottom = texture[y0 + 1, x0, c] * (one - fx) + texture[y0 + 1, x0 + 1, c] * fx
    return top * (one - fy) + bottom * fy


@kernel
def bilinear(texture, uv):
    """Values ``[N, C]`` of a texture ``[h, w, C]`` at ``uv [N, 2]``, v up."""
    out = np.empty((len(uv), texture.shape[2]), np.float32)
    for i in range(len(uv)):
        x0, y0, fx, fy = texel(texture, uv[i, 0], uv[i, 1])
        for c in range(texture.shape[2]):
            out[i, c] = mixed_texel(texture, x0, y0, fx, fy, c)
    return out


@kernel
def illuminate(
    counter, view, columns, rows, turned, depth, shadow, height, seen, albedo, fold, light, outward, open_share, lit
):  # fmt: skip
    """Light that samples send to the viewer.

    Args:
        view: ``[VIEW_NUMBERS]``.
        columns, rows: ``[N]`` float32, of the samples' pixels.
        turned: ``[N]`` float32, -1 where the surface is seen from behind.
        depth, height: ``[H, W]`` metres; the relief's height is NaN where there is none.
        shadow: ``[S, S]`` the key light's depth image.
        seen: ``[N, 16]``; normals are replaced by unit ones towards the viewer.
        albedo, fold: ``[N, 3]``, ``[N]``.
        light, outward, open_share, lit: results, ``[N, 3]``, ``[N, 3]`` unit to the viewer, ``[N]`` how open to the
            sky, ``[N]`` share of the key light.
    """
    while True:
        start = claim(counter) * PIECE
        if start >= len(seen):
            break
        for i in range(start, min(start + PIECE, len(seen)), LANES):
            _illuminate(
                view, columns, rows, turned, depth, shadow, height, seen, albedo, fold, i, light, outward, open_share,
                lit,
            )  # fmt: skip


@emitted()
def _illuminate(
    emit: Emitter, view, columns, rows, turned, depth, shadow, height, seen, albedo, fold, first, light, outward,
    open_share, lit,
):  # fmt: skip
    numbers = iter([emit.broadcast(emit.load_scalar(view, k)) for k in range(VIEW_NUMBERS)])

    def take(count: int) -> list[Lanes]:
        return [next(numbers) for _ in range(count)]

    position, right, down, forward = take(3), take(3), take(3), take(3)
    focal, width, image_height = take(3)
    lamp_rows = [take(4) for _ in range(3)]
    lamp_focal, lamp_x, lamp_y, lamp_size = take(4)
    lamps = [(take(3), take(3)) for _ in range(LAMP_COUNT)]
    ambient = [take(3) for _ in range(9)]

    surface = emit.load_columns(seen, first, SURFACE)
    point, material = surface[POINT : POINT + 3], surface[MATERIAL : MATERIAL + 5]
    x, y = emit.load(columns, first), emit.load(rows, first)
    to_viewer = _unit([p - q for p, q in zip(position, point, strict=True)])
    side = emit.load(turned, first)
    normal = [side * n for n in _unit(surface[NORMAL : NORMAL + 3])]

    own_depth = _dot(forward, [p - q for p, q in zip(point, position, strict=True)])
    facing = [_dot(axis, normal) for axis in (right, down, forward)]
    folded = emit.load(fold, first)
    open_sky = (surface[MOUTH_DEPTH] * (-LOG2_E / MOUTH_FALL)).exp2() * (1.0 - FOLD_SHADE * folded)
    for radius in OCCLUSION_RADII:
        open_sky = open_sky * _openness(emit, depth, x, y, own_depth, facing, focal, width, image_height, radius)
    share = _lit_share(emit, shadow, point, normal, lamp_rows, lamp_focal, lamp_x, lamp_y, lamp_size)
    tilted = _in_relief(emit, height, x, y, width, image_height, focal / own_depth, normal, right, down)
    colour = _reflect(
        emit.load_columns(albedo, first, 3),
        material,
        tilted,
        to_viewer,
        open_sky,
        share,
        lamps,
        ambient,
        right,
        down,
        forward,
    )
    emit.store_columns(colour, light, first)
    emit.store_columns(to_viewer, outward, first)
    emit.store(open_sky, open_share, first)
    emit.store(share, lit, first)


def _openness(
    emit: Emitter, depth: ir.Value, x: Lanes, y: Lanes, z: Lanes, normal: list[Lanes], focal: Lanes, width: Lanes,
    height: Lanes, radius: float,
) -> Lanes:  # fmt: skip
    """The share of the hemisphere that the depth buffer leaves open within ``radius``; ``normal`` in camera space."""
    reach, metres = radius * focal / z, z / focal
    cosine, sine = _jitter(x, y)
    blocked = Register(emit)
    spiral = emit.table(SPIRAL)
    with emit.each_number(emit.integer(TAPS)) as k:
        a, b = _tap(emit, spiral, k)
        there_x = x + (a * cosine - b * sine) * reach + 0.5
        there_y = y + (a * sine + b * cosine) * reach + 0.5
        index, column, row, inside = _pixel(emit, there_x, there_y, width, height)
        other = emit.gather(depth, index)
        v = [(column - x) * metres, (row - y) * metres, other - z]
        squared = _dot(v, v) + 1e-10
        rise = (_dot(v, normal) / squared.sqrt() - FACET_MARGIN).maximum(0.0)
        share = rise / (1.0 + squared * (1.0 / radius**2))
        blocked.add((inside & other.finite()).select(share, 0.0))
    return (1.0 - (OCCLUSION_GAIN / TAPS) * blocked.value).maximum(0.0)


def _lit_share(
    emit: Emitter, shadow: ir.Value, point: list[Lanes], normal: list[Lanes], rows: list[list[Lanes]], focal: Lanes,
    centre_x: Lanes, centre_y: Lanes, size: Lanes,
) -> Lanes:  # fmt: skip
    """Percentage-closer filtering (Reeves et al. 1987) of a shadow map, against the plane of the surface."""
    px, py, z = (_dot(row[:3], point) + row[3] for row in rows)
    facing = [_dot(row[:3], normal) for row in rows]
    away = facing[2].minimum(-0.2)  # the lamp looks along +z; grazing surfaces are left to their shading
    slope_x, slope_y = facing[0] / away, facing[1] / away
    scale = focal / z
    u, v = px * scale + centre_x, py * scale + centre_y
    cosine, sine = _jitter(_whole(emit, (8.0 * u).maximum(0.0)), _whole(emit, (8.0 * v).maximum(0.0)))
    cosine, sine = PENUMBRA * cosine, PENUMBRA * sine
    open_taps = Register(emit)
    spiral = emit.table(SPIRAL)
    with emit.each_number(emit.integer(TAPS)) as k:
        a, b = _tap(emit, spiral, k)
        dx, dy = a * cosine - b * sine, a * sine + b * cosine
        index, _, _, inside = _pixel(emit, u + dx * scale, v + dy * scale, size, size)
        own = z - (slope_x * dx + slope_y * dy)
        blocked = inside & (emit.gather(shadow, index) <= own - SHADOW_BIAS)
        open_taps.add(blocked.select(0.0, 1.0))
    return open_taps.value * (1.0 / TAPS)


def _in_relief(
    emit: Emitter, heights: ir.Value, x: Lanes, y: Lanes, width: Lanes, height: Lanes, pixels_a_metre: Lanes,
    normal: list[Lanes], right: list[Lanes], down: list[Lanes],
) -> list[Lanes]:  # fmt: skip
    """A normal tilted by the relief of the skin; beside other parts and at the picture's border the relief ends."""
    slopes = []
    for dx, dy in ((1.0, 0.0), (0.0, 1.0)):
        rises = []
        for sign in (1.0, -1.0):
            index, _, _, inside = _pixel(emit, x + sign * dx + 0.5, y + sign * dy + 0.5, width, height)
            rises.append((emit.gather(heights, index), inside))
        (ahead, ahead_inside), (behind, behind_inside) = rises
        slope = 0.5 * (ahead - behind) * pixels_a_metre
        known = ahead_inside & behind_inside & slope.finite()
        slopes.append(known.select(slope, 0.0).maximum(-STEEPEST).minimum(STEEPEST))
    across, downward = slopes
    return _unit([n - across * r - downward * d for n, r, d in zip(normal, right, down, strict=True)])


def _reflect(
    albedo: list[Lanes], material: list[Lanes], normal: list[Lanes], outward: list[Lanes], open_sky: Lanes, lit: Lanes,
    lamps: Sequence[tuple[list[Lanes], list[Lanes]]], ambient: list[list[Lanes]], right: list[Lanes], down: list[Lanes],
    forward: list[Lanes],
) -> list[Lanes]:  # fmt: skip
    """Light off a surface: wrapped diffuse light and two specular lobes (Trowbridge-Reitz, Schlick).

    Of the ``lamps``, directions and colours, the first alone casts shadows.
    """
    *wraps, roughness, reflectance = material
    facing = _dot(normal, outward).maximum(0.05)
    x, y, z = _dot(normal, right), -1.0 * _dot(normal, down), -1.0 * _dot(normal, forward)
    terms = [x, y, z, x * y, y * z, 3.0 * z * z - 1.0, x * z, x * x - y * y]
    log2_open = open_sky.maximum(SMALLEST).log2()
    hidden = [((0.5 * exponent) * log2_open).exp2() for exponent in CREVICE]  # what occlusion leaves of direct light
    light = [
        albedo[c]
        * sum((t * a[c] for t, a in zip(terms, ambient[1:], strict=True)), ambient[0][c]).maximum(0.0)
        * hidden[c]
        * hidden[c]
        for c in range(3)
    ]  # occlusion counts twice for the light of the sky
    log2_lit = lit.maximum(SMALLEST).log2()
    for number, (towards, colour) in enumerate(lamps):
        cosine = _dot(normal, towards)
        half = [o + t for o, t in zip(outward, towards, strict=True)]
        inverse_size = 1.0 / _dot(half, half).maximum(SMALLEST).sqrt()
        n_dot_h = (_dot(normal, half) * inverse_size).maximum(0.0)
        o_dot_h = (_dot(outward, half) * inverse_size).maximum(0.0).minimum(1.0)
        grazing = 1.0 - o_dot_h
        grazing_2 = grazing * grazing
        fresnel = reflectance + (1.0 - reflectance) * (grazing_2 * grazing_2 * grazing)
        lobes = (1.0 - FILM_SHARE) * _trowbridge_reitz(n_dot_h, roughness)
        lobes = lobes + FILM_SHARE * _trowbridge_reitz(n_dot_h, FILM * roughness)
        visible = cosine.maximum(0.0) / (4.0 * facing * cosine.maximum(0.2))
        shine = lobes * fresnel * visible * open_sky
        if number == 0:
            shine = shine * lit
        for c in range(3):
            wrapped = ((cosine + wraps[c]) / (1.0 + wraps[c])).maximum(SMALLEST)
            spread = ((1.0 + wraps[c]) * wrapped.log2()).exp2() * hidden[c]
            if number == 0:  # light that enters beside a shadow's edge leaves inside it, redder
                spread = spread * (log2_lit / (1.0 + 1.5 * wraps[c])).exp2()
            light[c] = light[c] + (albedo[c] * spread + shine) * colour[c]
    return light


def _trowbridge_reitz(n_dot_h: Lanes, roughness: Lanes) -> Lanes:
    a = roughness * roughness
    spread = n_dot_h * n_dot_h * (a * a - 1.0) + 1.0
    return a * a / (math.pi * spread * spread)


def _jitter(x: Lanes, y: Lanes) -> tuple[Lanes, Lanes]:
    """Cosine and sine of a turn that looks random from pixel to pixel (Jimenez's interleaved gradient noise)."""
    noise = _fraction(52.9829189 * _fraction(0.06711056 * x + 0.00583715 * y))
    t = 2.0 * noise - 1.0
    scale = 1.0 / (1.0 + t * t)
    return (1.0 - t * t) * scale, 2.0 * t * scale


def _fraction(number: Lanes) -> Lanes:
    return number - _whole(number.emit, number)


def _whole(emit: Emitter, number: Lanes) -> Lanes:
    """The floor of numbers that are not negative."""
    return emit.as_floats(number.truncated)


def _pixel(emit: Emitter, x: Lanes, y: Lanes, width: Lanes, height: Lanes) -> tuple[ir.Value, Lanes, Lanes, Mask]:
    """The index, column and row of the pixel at a place in an image, and whether it is inside; if not, the nearest."""
    inside = (x >= 0.0) & (y >= 0.0) & (x < width) & (y < height)
    column = x.maximum(0.0).minimum(width - 1.0).truncated
    row = y.maximum(0.0).minimum(height - 1.0).truncated
    index = emit.builder.add(emit.builder.mul(row, width.truncated), column)
    return index, emit.as_floats(column), emit.as_floats(row), inside


def _tap(emit: Emitter, spiral: ir.Value, k: ir.Value) -> tuple[Lanes, Lanes]:
    place = emit.offset(spiral, emit.builder.shl(k, emit.integer(1)))
    return emit.broadcast(emit.load_scalar(place, 0)), emit.broadcast(emit.load_scalar(place, 1))


def _dot(a: Sequence[Lanes], b: Sequence[Lanes]) -> Lanes:
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def _unit(vector: Sequence[Lanes]) -> list[Lanes]:
    inverse = 1.0 / _dot(vector, vector).maximum(1e-12).sqrt()
    return [component * inverse for component in vector]


@kernel
def display(counter, light):
    """Linear light to sRGB in [0, 1), highlights rolling off instead of clipping; ``light [N]`` in place."""
    while True:
        start = claim(counter) * PIECE
        if start >= len(light):
            break
        for i in range(start, min(start + PIECE, len(light)), LANES):
            _display(light, i)


@emitted()
def _display(emit: Emitter, light, index):
    value = emit.load(light, index).maximum(0.0)
    over = (value - KNEE).maximum(0.0)
    value = value.minimum(KNEE) + (1.0 - KNEE) * (1.0 - ((-LOG2_E / (1 - KNEE)) * over).maximum(-100.0).exp2())
    curved = 1.055 * (value.maximum(SMALLEST).log2() * (1.0 / 2.4)).exp2() - 0.055
    emit.store((value <= 0.0031308).select(value * 12.92, curved), light, index)


@kernel
def display_over(counter, samples, supersampling, curve, background, rgb, alpha):
    """Samples of premultiplied linear light and opacity, ``[H s, W s, 4]``, as pixels over a background.

    ``curve`` is `display_curve()`, ``background [H, W, 3]`` display sRGB; results: ``rgb [H, W, 3]``, ``alpha [H, W]``.
    """
    height, width = alpha.shape
    share, one, zero = np.float32(1 / supersampling**2), np.float32(1), np.float32(0)
    last = len(curve) - 1
    while True:
        y = claim(counter)
        if y >= height:
            break
        for x in range(width):
            red = green = blue = opaque = zero
            for row in range(y * supersampling, (y + 1) * supersampling):
                for column in range(x * supersampling, (x + 1) * supersampling):
                    opacity = samples[row, column, 3]
                    if opacity <= zero:
                        continue
                    inverse = one / opacity
                    opaque += opacity
                    red += opacity * _displayed(samples[row, column, 0] * inverse, curve, last)
                    green += opacity * _displayed(samples[row, column, 1] * inverse, curve, last)
                    blue += opacity * _displayed(samples[row, column, 2] * inverse, curve, last)
            alpha[y, x] = min(opaque * share, one)
            rest = one - alpha[y, x]
            rgb[y, x, 0] = red * share + rest * background[y, x, 0]
            rgb[y, x, 1] = green * share + rest * background[y, x, 1]
            rgb[y, x, 2] = blue * share + rest * background[y, x, 2]


@kernel
def _displayed(value, curve, last):
    place = min(math.sqrt(max(value, np.float32(0)) * np.float32(1 / BRIGHTEST)), np.float32(0.99999)) * last
    index = int(place)
    return curve[index] + (place - index) * (curve[index + 1] - curve[index])


BRIGHTEST = 4.0  # linear light from which everything is white


@functools.cache
def display_curve() -> np.ndarray:  # [2048] float32
    """What ``display`` makes of linear light, by its square root, up to `BRIGHTEST`."""
    light = (BRIGHTEST * np.linspace(0, 1, 2048) ** 2).astype(np.float32)
    share_out(display, light)
    return light


@kernel
def average(columns, rows, colours, supersampling, sums, picture):
    """Samples to pixels: ``colours [N, 3]`` in [0, 1] to ``picture [H, W, 4]`` uint8, straight alpha.

    ``sums [H, W, 4]`` float32 are zero before.
    """
    for i in range(len(colours)):
        x, y = int(columns[i]) // supersampling, int(rows[i]) // supersampling
        for c in range(3):
            sums[y, x, c] += colours[i, c]
        sums[y, x, 3] += 1
    for y in range(sums.shape[0]):
        for x in range(sums.shape[1]):
            count = sums[y, x, 3]
            if count > 0:
                for c in range(3):
                    picture[y, x, c] = np.uint8(sums[y, x, c] / count * 255 + 0.5)
                picture[y, x, 3] = np.uint8(count / (supersampling * supersampling) * 255 + 0.5)


@kernel
def sides(attributes, faces, position):
    """+1 or -1 by the side of each face, ``[F]`` float32, that is seen from ``position [3]``."""
    out = np.empty(len(faces), np.float32)
    for t in range(len(faces)):
        a, b, c = faces[t, 0], faces[t, 1], faces[t, 2]
        volume = 0.0
        for k in range(3):
            i, j = (k + 1) % 3, (k + 2) % 3
            cross = (attributes[b, i] - attributes[a, i]) * (attributes[c, j] - attributes[a, j]) - (
                attributes[b, j] - attributes[a, j]
            ) * (attributes[c, i] - attributes[a, i])
            volume += cross * (position[k] - attributes[a, k])
        out[t] = 1.0 if volume > 0 else (-1.0 if volume < 0 else 0.0)
    return out

"""Weather and light: from what the pixels see to an image.

Light is linear until the sensor, which takes its square root and rounds to 8 bits. Weather changes the image alone, never
the ground truth.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from .._shared.arrays import Array
from .layout import Street
from .rays import Camera, Hits, shadow
from .style import Material
from .texture import albedo, dice, noise


@dataclass(frozen=True)
class Sensor:
    """What the camera does to light: gain, white balance, deviation of its noise, weight of each neighbour's light."""

    exposure: float
    tint: Array
    noise: float
    blur: float


@dataclass(frozen=True)
class Weather:
    """Light and air of one image, and the sensor that sees them.

    Attributes:
        sun: unit vector towards the sun (or the brightest part of the sky), y < 0.
        sunlight, skylight: colours of direct and diffuse light.
        zenith, horizon: colours of the sky; far things fade into the horizon's.
        clouds: 0 (clear) to 1 (covered).
        haze: extinction (1/m); visibility is about 3 / haze.
        soft: share of the direct light that reaches into shadows.
        night: street lamps, car lamps and windows are lit; nothing casts shadows.
        rain: wet roads mirror, streaks fall.
    """

    sun: Array
    sunlight: Array
    skylight: Array
    zenith: Array
    horizon: Array
    clouds: float
    haze: float
    sensor: Sensor
    soft: float = 0.0
    night: bool = False
    rain: bool = False


def _rgb(*values: float) -> Array:
    return np.array(values, np.float32)


def draw_weather(rng: Generator, kind: str) -> Weather:
    """Weather of a kind: `day` (sun or cloud, as in train), `night`, `fog`, `rain`."""
    high, around = rng.uniform(0.3, 1.25), rng.uniform(0, 2 * np.pi)
    sun = np.array([np.cos(high) * np.sin(around), -np.sin(high), np.cos(high) * np.cos(around)])
    overhead = np.array([0.12, -0.985, 0.12]) / np.linalg.norm([0.12, -0.985, 0.12])
    sensor = Sensor(
        exposure=float(rng.uniform(0.85, 1.4)),
        tint=_rgb(*rng.uniform(0.93, 1.07, 3)),
        noise=float(rng.uniform(0.02, 0.04) if kind == "night" else rng.uniform(0.006, 0.02)),
        blur=float(rng.uniform(0.0, 0.18)),
    )
    level = np.float32(rng.uniform(0.8, 1.15))
    if kind == "night":
        dark = _rgb(0.016, 0.02, 0.04)
        return Weather(overhead, 0.5 * dark, 1.4 * dark, 0.5 * dark, _rgb(0.05, 0.045, 0.05), 0.5, 0.003, sensor, night=True)
    if kind == "fog":
        grey, haze = level * _rgb(0.62, 0.64, 0.66), float(rng.uniform(0.035, 0.09))
        return Weather(overhead, 0.3 * grey, 0.9 * grey, grey, grey, 1.0, haze, sensor, soft=0.6)
    if kind == "rain":
        grey, haze = level * _rgb(0.36, 0.39, 0.43), float(rng.uniform(0.008, 0.016))
        return Weather(overhead, 0.3 * grey, grey, 0.9 * grey, grey, 1.0, haze, sensor, soft=0.5, rain=True)
    if rng.random() < 0.3:  # overcast
        grey, haze = level * _rgb(0.68, 0.71, 0.75), float(rng.uniform(0.001, 0.006))
        return Weather(overhead, 0.45 * grey, 0.8 * grey, 0.9 * grey, grey, 0.9, haze, sensor, soft=0.45)
    warm = np.float32(max(0.0, 1 - high / 0.8))  # a low sun is red
    sunlight = _rgb(1.3, 1.22, 1.1) * (1 - warm * _rgb(0.05, 0.25, 0.5))
    zenith = level * _rgb(0.16, 0.33, 0.66)
    horizon = _rgb(0.6, 0.72, 0.85) * (1 - warm * _rgb(-0.25, 0.05, 0.3))
    clouds, haze = float(rng.uniform(0.0, 0.7)), float(rng.uniform(0.0005, 0.004))
    return Weather(sun, sunlight, _rgb(0.36, 0.42, 0.52), zenith, horizon, clouds, haze, sensor)


def shade(street: Street, hits: Hits, camera: Camera, weather: Weather, rng: Generator) -> Array:
    """The image, uint8 [H, W, 3]."""
    size = camera.height, camera.width
    colour, glass, glow = albedo(street, hits, camera)
    rays = camera.rays.reshape(3, -1)
    length = np.sqrt((rays * rays).sum(0))
    sky = _sky(rays / length, weather)
    material = np.append(street.solids.material, -1)[hits.solid]
    if weather.rain:
        colour = np.where(hits.normal[1] < -0.9, 0.55 * colour, colour)
    facing = np.maximum(weather.sun.astype(np.float32) @ hits.normal, 0)
    if not weather.night:
        facing *= np.where(shadow(street.solids, hits, weather.sun), np.float32(weather.soft), np.float32(1))
    open_sky = 0.62 - 0.38 * hits.normal[1]  # half of the hemisphere of a wall is ground, which is darker
    low = np.clip(0.75 - 0.5 * hits.point[1], 0.75, 1)  # less sky reaches the foot of things
    low = np.where(hits.normal[1] < -0.9, np.float32(1), low)
    light = weather.sunlight[:, None] * facing + weather.skylight[:, None] * (open_sky * low)
    if weather.night:
        light += _lamps(street, hits, camera)
    bounce = 0.25 * sky if weather.night else _mirrored(rays / length, hits.normal, weather)
    image = colour * light * (1 - 0.6 * glass) + glass * 0.6 * bounce
    image += glow * (1.6 if weather.night else 0.45)
    if weather.night:
        cell = np.floor(hits.point / np.float32(2.7))
        lit = (glass > 0.3) & (material == Material.FACADE) & (dice(cell[0] + cell[2] * 7 + hits.solid, cell[1]) < 0.3)
        image += lit * _rgb(0.5, 0.38, 0.18)[:, None]
    seen = hits.solid >= 0
    clear = np.exp(np.where(seen, -weather.haze * np.where(seen, hits.depth, 0) * length, 0)).astype(np.float32)
    image = clear * image + (1 - clear) * weather.horizon[:, None]
    image = np.where(seen, image, sky).reshape(3, *size)
    if weather.rain:
        image = _streaks(_puddles(image, (material == Material.ROAD).reshape(size), camera, hits), rng)
    return _expose(image, weather.sensor, rng)


def _sky(direction: Array, weather: Weather) -> Array:
    """Colour of the sky in unit directions [3, ...]: from horizon to zenith, clouds, a glow around the sun."""
    up = np.clip(-direction[1], 0, 1)
    blend = np.sqrt(up)
    sky = weather.horizon[:, None] * (1 - blend) + weather.zenith[:, None] * blend
    if weather.clouds > 0:
        plane = 40 / (up + 0.12)
        value = noise(direction[0] * plane + 1000, direction[2] * plane + 1000)
        cover = np.clip(value * 0.6 + 1.6 * weather.clouds - 0.6, 0, 1) * np.float32(0.75)
        cloud = (weather.horizon * np.float32(1.15))[:, None] * (1 + 0.06 * value)
        sky = sky + cover * (cloud - sky)
    sun = np.clip(weather.sun.astype(np.float32) @ direction, 0, 1)
    return sky + (1 - weather.clouds) * weather.sunlight[:, None] * (0.25 * sun**8 + sun**200)


def _mirrored(direction: Array, normal: Array, weather: Weather) -> Array:
    """The sky that a pane sees; below the horizon it sees the street, which is darker."""
    turned = direction[1] - 2 * (direction * normal).sum(0) * normal[1]
    blend = np.sqrt(np.clip(-turned, 0, 1))
    sky = weather.horizon[:, None] * (1 - blend) + weather.zenith[:, None] * blend
    return np.where(turned < 0, sky, np.float32(0.3) * weather.horizon[:, None])


def _lamps(street: Street, hits: Hits, camera: Camera) -> Array:
    """Light of the street lamps and of the car that carries the camera, float32 [3, P]."""
    light = np.zeros_like(hits.point)
    near = street.lamps[np.argsort(np.abs(street.lamps[:, 2] - 12), kind="stable")[:8]]
    warm = _rgb(1.0, 0.72, 0.4)[:, None]
    for place in near.astype(np.float32):
        towards = place[:, None] - hits.point
        square = (towards * towards).sum(0) + 1
        facing = np.clip((towards * hits.normal).sum(0), 0, None) / np.sqrt(square)
        light += warm * (9 * facing / square)
    towards = camera.position.astype(np.float32)[:, None] + _rgb(0, 0.5, 0)[:, None] - hits.point
    square = (towards * towards).sum(0) + 4
    facing = np.clip((towards * hits.normal).sum(0), 0, None) / np.sqrt(square)
    ahead = np.clip(-towards[2] / np.sqrt(square), 0, 1) ** 6
    return light + _rgb(1, 0.95, 0.85)[:, None] * (30 * facing * ahead / square)


def _puddles(image: Array, ground: Array, camera: Camera, hits: Hits) -> Array:
    """Wet ground mirrors what stands above it: the row as far above the horizon as it is below."""
    forward = camera.rotation[:, 2]
    pitch = np.arctan2(-camera.rotation[2, 1], np.hypot(forward[0], forward[2]))
    horizon = camera.height / 2 + camera.focal * np.tan(pitch)
    rows = np.clip(np.round(2 * horizon - np.arange(camera.height) - 1), 0, camera.height - 1).astype(int)
    depth = np.where(np.isfinite(hits.depth), hits.depth, 0).reshape(ground.shape)
    fresnel = np.clip(0.12 + 0.03 * depth, 0, 0.6)
    wet = ground * fresnel * np.clip(0.8 + 0.5 * noise(hits.point[0] * 4, hits.point[2] * 4).reshape(ground.shape), 0, 1)
    return image + wet * (image[:, rows] - image)


def _streaks(image: Array, rng: Generator) -> Array:
    """Falling drops: short slanted bright lines."""
    _, height, width = image.shape
    count = height * width // 45
    steps = np.arange(max(3, height // 9))
    slant = rng.uniform(-0.3, 0.3)
    row = (rng.uniform(-len(steps), height, count)[:, None] + steps).astype(int)
    column = (rng.uniform(0, width, count)[:, None] + slant * steps).astype(int)
    long = steps < rng.integers(2, len(steps) + 1, count)[:, None]
    ok = long & (row >= 0) & (row < height) & (column >= 0) & (column < width)
    veil = np.zeros((height, width), np.float32)
    veil[row[ok], column[ok]] = np.broadcast_to(rng.uniform(0.06, 0.3, (count, 1)), ok.shape)[ok]
    return image + veil * (_rgb(0.75, 0.78, 0.82)[:, None, None] - image)


def _expose(image: Array, sensor: Sensor, rng: Generator) -> Array:
    """Blur by the lens, exposure, white balance, noise and rounding; [3, H, W] linear light to uint8 [H, W, 3]."""
    if sensor.blur > 0:
        keep, side = np.float32(1 - 2 * sensor.blur), np.float32(sensor.blur)
        for axis in (1, 2):
            pad = np.pad(image, [(0, 0)] + [(1, 1) if a == axis else (0, 0) for a in (1, 2)], mode="edge")
            size = image.shape[axis]
            before, after = pad.take(range(size), axis), pad.take(range(2, size + 2), axis)
            image = keep * image + side * (before + after)
    gain = np.float32(sensor.exposure) * sensor.tint
    value = np.sqrt(np.clip(image * gain[:, None, None], 0, 1))
    value += np.float32(sensor.noise) * rng.standard_normal(image.shape, dtype=np.float32)
    return np.ascontiguousarray(np.clip(np.round(value * 255), 0, 255).astype(np.uint8).transpose(1, 2, 0))

"""Writes pixel_ops.json: what Pillow makes of small images by every operation of data/pixel_ops.h.

    python3 tests/golden/pixel_ops.py > tests/golden/pixel_ops.json        # needs Pillow
"""
import json
import random

from PIL import Image, ImageDraw, ImageEnhance, ImageOps, __version__


def affine(*matrix):
    return lambda image, v: image.transform(
        image.size, Image.Transform.AFFINE, [m(v) for m in matrix], Image.Resampling.NEAREST)


def zero(v): return 0
def one(v): return 1
def value(v): return v


OPERATIONS = {
    'Identity': (lambda image, v: image, [0]),
    'AutoContrast': (lambda image, v: ImageOps.autocontrast(image), [0]),
    'Equalize': (lambda image, v: ImageOps.equalize(image), [0]),
    'Brightness': (lambda image, v: ImageEnhance.Brightness(image).enhance(v), [0.05, 0.437, 1.63]),
    'Color': (lambda image, v: ImageEnhance.Color(image).enhance(v), [0.05, 0.618, 1.81]),
    'Contrast': (lambda image, v: ImageEnhance.Contrast(image).enhance(v), [0.1, 0.733, 1.9]),
    'Sharpness': (lambda image, v: ImageEnhance.Sharpness(image).enhance(v), [0.05, 0.521, 1.9]),
    'Posterize': (lambda image, v: ImageOps.posterize(image, int(v)), [1.5, 4.99, 7.2, 8]),
    'Solarize': (lambda image, v: ImageOps.solarize(image, v), [0, 97.5, 200, 256]),
    'Rotate': (lambda image, v: image.rotate(v), [-30, 11.7, 29.99]),
    'ShearX': (affine(one, value, zero, zero, one, zero), [-0.3, 0.171]),
    'ShearY': (affine(one, zero, zero, value, one, zero), [-0.123, 0.29]),
    'TranslateX': (affine(one, zero, value, zero, one, zero), [-2.6, 0.5, 3.2]),
    'TranslateY': (affine(one, zero, zero, zero, one, value), [-1.5, 2.49]),
}


def images():
    """(height, width, channels, bytes), of odd sizes; all kinds of histograms."""
    draw = random.Random(20)

    def noise(count, low, high): return bytes(draw.randint(low, high) for _ in range(count))
    yield 17, 19, 3, bytes(min(255, max(0, 7 * (i % 19) + (40, 90, 20)[i % 3] + draw.randint(-30, 60)))
                           for i in range(17 * 19 * 3))
    yield 19, 17, 1, bytes(draw.choice((12, 50, 51, 90, 200, 203)) for i in range(19 * 17))
    yield 31, 29, 1, noise(31 * 29, 60, 190)
    yield 6, 9, 3, noise(6 * 9 * 3, 0, 255)
    yield 2, 3, 3, noise(2 * 3 * 3, 0, 255)
    yield 5, 2, 1, noise(5 * 2, 0, 255)
    yield 4, 3, 3, bytes([9, 200, 77]) * 12


def main():
    lines = []
    for height, width, channels, content in images():
        image = Image.frombytes('L' if channels == 1 else 'RGB', (width, height), content)
        results = []
        for op, (apply, values) in OPERATIONS.items():
            for v in values:
                results.append({'op': op, 'value': v, 'bytes': apply(image, v).tobytes().hex()})
        filled = image.copy()
        colour = (125, 123, 114)  # as a grey value: what Pillow converts one pixel of it to
        ImageDraw.Draw(filled).rectangle((1, 1, 1, 2), colour if channels == 3 else
                                         Image.new('RGB', (1, 1), colour).convert('L').getpixel((0, 0)))
        case = {'shape': [height, width, channels], 'bytes': content.hex(), 'filled': filled.tobytes().hex()}
        rows = ',\n'.join(json.dumps(result) for result in results)
        lines.append(json.dumps(case)[:-1] + ', "results": [\n' + rows + ']}')
    print(f'{{"pillow": "{__version__}", "images": [\n' + ',\n'.join(lines) + ']}')


main()

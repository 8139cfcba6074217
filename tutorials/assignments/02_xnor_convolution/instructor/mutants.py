"""Wrong answers that a student may give: the tests have to find each, and to say what is wrong with it.

old, new: what is replaced in the reference. fails: the tasks that must not earn all their points; all others must
(a task of speed, if it is not named, must earn some). told: a part of what the student is told.
"""

MUTANTS = [
    {
        "name": "windows ignore the stride",
        "old": "    seen = seen[:, : stride * rows : stride, : stride * columns : stride]\n",
        "new": "",
        "fails": ["windows"],
        "told": "the stride is left out",
    },
    {
        "name": "windows stride along rows alone",
        "old": ": stride * columns : stride]",
        "new": ":]",
        "fails": ["windows"],
        "told": "the stride holds for columns too",
    },
    {
        "name": "a window too few",
        "old": "columns = (width + 2 * padding - kernel[1]) // stride + 1",
        "new": "columns = (width + 2 * padding - kernel[1] - 1) // stride + 1",
        "fails": ["windows"],
        "told": "the last column of windows is missing",
    },
    {
        "name": "the number of windows without the one",
        "old": "rows = (height + 2 * padding - kernel[0]) // stride + 1",
        "new": "rows = (height + 2 * padding - kernel[0]) // stride",
        "fails": ["windows"],
        "told": "the last row of windows is missing",
    },
    {
        "name": "pixels that are added are all ones",
        "old": "padded = np.zeros((images, height + 2 * padding, width + 2 * padding, words), np.uint64)",
        "new": "padded = np.full((images, height + 2 * padding, width + 2 * padding, words), ~np.uint64(0))",
        "fails": ["windows"],
        "told": "the pixels that are added have words of 0",
    },
    {
        "name": "words stand before the window",
        "old": "return seen.transpose(0, 1, 2, 4, 5, 3).copy()",
        "new": "return seen.copy()",
        "fails": ["windows"],
        "told": "the words come last",
    },
    {
        "name": "windows exchange rows and columns",
        "old": "return seen.transpose(0, 1, 2, 4, 5, 3).copy()",
        "new": "return seen.transpose(0, 1, 2, 5, 4, 3).copy()",
        "fails": ["windows"],
        "told": "rows and columns of a window are exchanged",
    },
    {
        "name": "windows of square images only",
        "old": "seen = seen[:, : stride * rows : stride, : stride * columns : stride]",
        "new": "seen = seen[:, : stride * rows : stride, : stride * rows : stride]",
        "fails": ["windows"],
        "told": "got the shape",
    },
    {
        "name": "windows are views",
        "old": "    return seen.transpose(0, 1, 2, 4, 5, 3).copy()",
        "new": "    if not padding:\n"
        "        seen = np.lib.stride_tricks.sliding_window_view(image, kernel, axis=(1, 2))\n"
        "        seen = seen[:, ::stride, ::stride]\n"
        "    return seen.transpose(0, 1, 2, 4, 5, 3)",
        "fails": ["windows"],
        "told": "returned a view of its first argument",
    },
    {
        "name": "offsets without the border",
        "old": "result += np.where(tap, 2 * ones[:, i, j, None, None], channels)",
        "new": "result += channels",
        "fails": ["offsets"],
        "told": "a tap outside counts as -1",
    },
    {
        "name": "offsets count the border twice",
        "old": "result += np.where(tap, 2 * ones[:, i, j, None, None], channels)",
        "new": "result += channels + 2 * tap * (2 * ones[:, i, j, None, None] - channels)",
        "fails": ["offsets"],
        "told": "counted the border twice",
    },
    {
        "name": "offsets count corners twice",
        "old": "    for i, j in np.ndindex(*kernel):\n"
        "        tap = outside[i : i + stride * down : stride, j : j + stride * across : stride]\n"
        "        result += np.where(tap, 2 * ones[:, i, j, None, None], channels)\n",
        "new": "    rows, columns = (np.pad(np.zeros(n, int), padding, constant_values=1) for n in size)\n"
        "    outside = rows[:, None] + columns\n"
        "    for i, j in np.ndindex(*kernel):\n"
        "        tap = outside[i : i + stride * down : stride, j : j + stride * across : stride]\n"
        "        result += channels + tap * (2 * ones[:, i, j, None, None] - channels)\n",
        "fails": ["offsets"],
        "told": "counted the border twice at the corners",
    },
    {
        "name": "offsets correct in the wrong direction",
        "old": "result += np.where(tap, 2 * ones[:, i, j, None, None], channels)",
        "new": "result += channels + tap * (channels - 2 * ones[:, i, j, None, None])",
        "fails": ["offsets"],
        "told": "in the wrong direction",
    },
    {
        "name": "offsets keep the channels of taps outside",
        "old": "result += np.where(tap, 2 * ones[:, i, j, None, None], channels)",
        "new": "result += channels + tap * 2 * ones[:, i, j, None, None]",
        "fails": ["offsets"],
        "told": "a tap outside has no channels to add",
    },
    {
        "name": "offsets right for padding 1 alone",
        "old": "outside[padding : padding + height, padding : padding + width] = False",
        "new": "outside[1 : len(outside) - 1, 1 : outside.shape[1] - 1] = False",
        "fails": ["offsets"],
        "told": "it may be wider than 1",
    },
    {
        "name": "offsets sum in bytes",
        "old": "ones = np.bitwise_count(weights).sum(axis=-1, dtype=np.int64)",
        "new": "ones = np.bitwise_count(weights).sum(axis=-1, dtype=np.uint8).astype(np.int64)",
        "fails": ["offsets"],
        "told": "counts above 255 do not fit into a byte",
    },
    {
        "name": "offsets of whole words",
        "old": "result += np.where(tap, 2 * ones[:, i, j, None, None], channels)",
        "new": "result += np.where(tap, 2 * ones[:, i, j, None, None], 64 * weights.shape[-1])",
        "fails": ["offsets"],
        "told": "n has to be the number of channels",
    },
    {
        "name": "padding counts as -1",
        "old": "channels * inside + 2 * missed - 2",
        "new": "channels * kernel[0] * kernel[1] - 2",
        "fails": ["xnor_conv", "speed"],
        "told": "padding counted as -1, not as 0",
    },
    {
        "name": "counts the border twice",
        "old": "channels * inside + 2 * missed - 2",
        "new": "channels * (2 * inside - kernel[0] * kernel[1]) + 4 * missed - 2",
        "fails": ["xnor_conv", "speed"],
        "told": "counted the border twice",
    },
    {
        "name": "what is counted outside stays",
        "old": "channels * inside + 2 * missed - 2",
        "new": "channels * inside - 2",
        "fails": ["xnor_conv", "speed"],
        "told": "what D counts outside of the image has to be taken off again",
    },
    {
        "name": "pads numbers before taking signs",
        "old": "pixels = pack(np.moveaxis(x > 0, 1, -1))  # (N, H, W, K)",
        "new": "x = np.pad(x, ((0, 0), (0, 0), (padding,) * 2, (padding,) * 2))\n"
        "    padding = 0\n"
        "    height, width = x.shape[2:]\n"
        "    pixels = pack(np.moveaxis(x > 0, 1, -1))",
        "fails": ["xnor_conv", "speed"],
        "told": "padding counted as -1, not as 0",
    },
    {
        "name": "the filter is flipped",
        "old": "filters = pack(np.moveaxis(w > 0, 1, -1))",
        "new": "filters = pack(np.moveaxis(w[:, :, ::-1, ::-1] > 0, 1, -1))",
        "fails": ["xnor_conv", "speed"],
        "told": "the filter is flipped",
    },
    {
        "name": "sign(0) is +1",
        "old": "pixels = pack(np.moveaxis(x > 0, 1, -1))",
        "new": "pixels = pack(np.moveaxis(x >= 0, 1, -1))",
        "fails": ["xnor_conv"],
        "told": "sign(0) is -1",
    },
    {
        "name": "sign(0) is +1 in filters",
        "old": "filters = pack(np.moveaxis(w > 0, 1, -1))",
        "new": "filters = pack(np.moveaxis(w >= 0, 1, -1))",
        "fails": ["xnor_conv"],
        "told": "sign(0) is -1 in filters too",
    },
    {
        "name": "wrong at stride 2",
        "old": "beyond = view(beyond, kernel)[::stride, ::stride]",
        "new": "beyond = view(beyond, kernel)\n"
        "    windows = np.array(beyond.shape[:2]) - 1\n"
        "    beyond = beyond[: windows[0] // stride + 1, : windows[1] // stride + 1]",
        "fails": ["xnor_conv"],
        "told": "the border is corrected as with stride 1",
    },
    {
        "name": "the stride of rows alone",
        "old": "    beyond = view(beyond, kernel)[::stride, ::stride]  # (Ho, Wo, Kh, Kw)\n"
        "    patches = view(pixels, kernel, axis=(1, 2))[:, ::stride, ::stride]\n",
        "new": "    beyond = view(beyond, kernel)[::stride]\n"
        "    patches = view(pixels, kernel, axis=(1, 2))[:, ::stride]\n",
        "fails": ["xnor_conv"],
        "told": "the stride holds for columns too",
    },
    {
        "name": "counts of a window in bytes",
        "old": "np.bitwise_count(patches ^ taps.ravel()).sum(axis=1, dtype=np.int64)",
        "new": "np.add.reduce(np.bitwise_count(patches ^ taps.ravel()), axis=1, dtype=np.uint8)\n"
        "        differ = differ.astype(np.int64)",
        "fails": ["xnor_conv", "speed"],
        "told": "counts above 255 do not fit into a byte",
    },
    {
        "name": "the length of the words in place of the channels",
        "old": "y[:, o] = channels * inside",
        "new": "y[:, o] = 64 * pixels.shape[-1] * inside",
        "fails": ["xnor_conv", "speed"],
        "told": "n has to be the number of signs, not of bits in the words",
    },
    {
        "name": "floats",
        "old": "np.empty((images, len(w), *shape[1:]), np.int64)",
        "new": "np.empty((images, len(w), *shape[1:]))",
        "fails": ["xnor_conv", "speed"],
        "told": "got entries of float64, expected integers",
    },
    {
        "name": "takes signs in place",
        "old": "pixels = pack(np.moveaxis(x > 0, 1, -1))",
        "new": "x[x == 0] = -1\n    pixels = pack(np.moveaxis(x > 0, 1, -1))",
        "fails": ["xnor_conv"],
        "told": "changed its first argument",
    },
    {
        "name": "a loop over pixels",
        "old": "differ = np.bitwise_count(patches ^ taps.ravel()).sum(axis=1, dtype=np.int64)",
        "new": "differ = np.array([np.bitwise_count(p ^ taps.ravel()).sum(dtype=int) for p in patches])",
        "fails": ["speed"],
        "told": "times the reference's time",
    },
]

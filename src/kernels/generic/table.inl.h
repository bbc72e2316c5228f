// The entries of KernelTable, in its order; `stream` is a parameter of what includes this.
.name = kIsaName, .stream = stream, .token_tile = kTokenTile, .pack_panels = pack_panels, .pack_int8 = pack_int8,
    .pack_f32 = pack_f32, .matmul = matmul, .rms_norm = rms_norm, .layer_norm = layer_norm,
    .silu_multiply = silu_multiply, .gelu = gelu, .gelu_multiply = gelu_multiply, .clipped_swiglu = clipped_swiglu,
    .soft_cap = soft_cap, .add = add_to, .rope_adjacent = rope_adjacent, .rope_halves = rope_halves,
    .rotate_hadamard = rotate_hadamard, .store_query = store_query, .store_key = store_key, .store_value = store_value,
    .make_planes = make_planes, .attend = attend, .merge_attention = merge_attention, .scale = scale_by,
    .log_sum_exp = log_sum_exp, .read_all = read_all, .read_streams = read_streams, .int8_peak = int8_peak,
    .f32_peak = f32_peak, .bf16_peak = bf16_peak,

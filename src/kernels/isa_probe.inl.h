// For isa_test.cc: the vocabulary of one instruction set behind a plain function. Included once for each set, inside
// its own unnamed namespace, after the vocabulary and vector_math.inl.h.

// out[i] = op(a[i], b[i], c[i]) for 16 lanes; where the result is one number, out[0].
void run_lanes(LaneOp op, const float* a, const float* b, const float* c, float* out) {
  const F32 x = load_f32(a), y = load_f32(b), z = load_f32(c);
  switch (op) {
    case LaneOp::kAdd: return store_f32(out, add(x, y));
    case LaneOp::kSub: return store_f32(out, sub(x, y));
    case LaneOp::kMul: return store_f32(out, mul(x, y));
    case LaneOp::kDiv: return store_f32(out, div(x, y));
    case LaneOp::kFma: return store_f32(out, fma(x, y, z));
    case LaneOp::kMax: return store_f32(out, max(x, y));
    case LaneOp::kMin: return store_f32(out, min(x, y));
    case LaneOp::kAbs: return store_f32(out, abs(x));
    case LaneOp::kSelectLess: return store_f32(out, select_less(x, y, z, x));
    case LaneOp::kBits: return store_f32(out, from_bits(bits_of(x)));
    case LaneOp::kExp: return store_f32(out, exp_f32(x));
    case LaneOp::kExpNotPositive: return store_f32(out, exp_not_positive(x));
    case LaneOp::kSumLanes: out[0] = sum_lanes(x); return;
    case LaneOp::kMaxLanes: out[0] = max_lanes(x); return;
    case LaneOp::kSumLanesDouble:
      out[0] = static_cast<float>(sum_lanes_f64(add_f64(add_f64(zero_f64(), x), y)));
      return;
  }
}

void load_first(const float* p, int n, float* out) { store_f32(out, load_f32_n(p, n)); }
void store_first(const float* p, int n, float* out) { store_f32_n(out, load_f32(p), n); }
void from_half(const uint16_t* p, float* out) { store_f32(out, load_f16(p)); }
void from_bfloat16(const uint16_t* p, float* out) { store_f32(out, load_bf16(p)); }

void run_integers(IntegerOp op, const int32_t* a, const int32_t* b, int32_t* out) {
  const I32 x = load_i32(a), y = load_i32(b);
  alignas(64) float bits[16];
  int8_t bytes[16];
  int16_t half_words[16];
  switch (op) {
    case IntegerOp::kAdd: store_f32(bits, from_bits(add_i32(x, y))); break;
    case IntegerOp::kMultiply: store_f32(bits, from_bits(mul_i32(x, y))); break;
    case IntegerOp::kField: store_f32(bits, from_bits(field_i32(x, 11, 0x3FFu))); break;
    case IntegerOp::kWidenBytes: store_f32(bits, from_bits(widen_u8(a))); break;
    case IntegerOp::kWidenHalfWords: store_f32(bits, from_bits(widen_u16(a))); break;
    case IntegerOp::kShiftLeft: store_f32(bits, from_bits(shift_left_i32(x, 7))); break;
    case IntegerOp::kToFloat: store_f32(bits, to_f32(x)); break;
    case IntegerOp::kRound: store_f32(bits, from_bits(round_to_i32(from_bits(x)))); break;
    case IntegerOp::kThroughBytes:
      store_i8(bytes, x);
      store_f32(bits, from_bits(load_i8(bytes)));
      break;
    case IntegerOp::kThroughHalfWords:
      store_i16(half_words, x);
      store_f32(bits, from_bits(widen_u16(half_words)));
      break;
    case IntegerOp::kDotPairs: store_f32(bits, from_bits(dot_pairs(set_i32(-5), x, y))); break;
    case IntegerOp::kDotBytes: store_f32(bits, from_bits(dot_bytes(set_i32(-5), bytes_of(x), bytes_of(y)))); break;
    case IntegerOp::kSumLanes: store_f32(bits, from_bits(set_i32(sum_lanes_i32(x)))); break;
  }
  __builtin_memcpy(out, bits, sizeof bits);
}

void run_bytes(ByteOp op, const uint8_t* a, const uint8_t* b, uint64_t mask, uint8_t* out) {
  const U8 x = load_u8(a), y = load_u8(b);
  switch (op) {
    case ByteOp::kOr: return store_u8(out, or_u8(x, y));
    case ByteOp::kAdd: return store_u8(out, add_u8(x, y));
    case ByteOp::kSub: return store_u8(out, sub_u8(x, y));
    case ByteOp::kAddWhere: return store_u8(out, add_where(x, y, mask));
    case ByteOp::kSet: return store_u8(out, set_u8(0xC8));
    case ByteOp::kRepeat: return store_u8(out, repeat_16(a));
    case ByteOp::kLookup: return store_u8(out, lookup(bytes_of(load_i32(a)), bit_field<0, 15>(y)));
    case ByteOp::kField: return store_u8(out, bit_field<2, 3>(x));
    case ByteOp::kRaisedField: return store_u8(out, bit_field<-2, 3 << 4>(x));
  }
}

constexpr Probe kProbe = {kIsaName,  run_lanes,     load_first,   store_first,
                          from_half, from_bfloat16, run_integers, run_bytes};

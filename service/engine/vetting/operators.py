"""
The operators a model may use: those of our exports, and other arithmetic.

All are of ONNX's own domain, depend on their inputs only, and contain no graph: no ``If``, ``Loop``
or ``Scan``, no random numbers, no text, no sequences of tensors, no files (``EPContext``).
"""

_ELEMENTS = """
Abs Acos Acosh Add And Asin Asinh Atan Atanh BitwiseAnd BitwiseNot BitwiseOr BitwiseXor Cast
CastLike Ceil Celu Clip Cos Cosh Div Elu Equal Erf Exp Floor Gelu Greater GreaterOrEqual
HardSigmoid HardSwish Identity IsInf IsNaN LeakyRelu Less LessOrEqual Log Max Mean Min Mish Mod Mul
Neg Not Or PRelu Pow Reciprocal Relu Round Selu Sigmoid Sign Sin Sinh Softplus Softsign Sqrt Sub Sum
Swish Tan Tanh ThresholdedRelu Where Xor
"""
_ALONG_AXES = """
ArgMax ArgMin CumSum LogSoftmax ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean
ReduceMin ReduceProd ReduceSum ReduceSumSquare Softmax TopK
"""
_SHAPES = """
Concat Constant ConstantOfShape Expand EyeLike Flatten Gather GatherElements GatherND OneHot Pad
Range Reshape ReverseSequence ScatterElements ScatterND Shape Size Slice Split Squeeze Tile
Transpose Trilu Unsqueeze
"""
_NETWORKS = """
Attention AveragePool BatchNormalization Conv Einsum GRU Gemm GlobalAveragePool GlobalMaxPool
GroupNormalization InstanceNormalization LSTM LayerNormalization MatMul MaxPool RMSNormalization
RNN RotaryEmbedding
"""
OPERATORS = frozenset((_ELEMENTS + _ALONG_AXES + _SHAPES + _NETWORKS).split())

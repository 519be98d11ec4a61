//go:build !purego

#include "textflag.h"

// The scalar chunk.
#define p      SI // where the first of the three chunks is read
#define end    BX // p at the end
#define n      DX
#define v1     R8
#define v2     R9
#define v3     R10
#define v4     R11
#define x      R12
#define prime1 R13
#define prime2 DI
#define p2     CX // where the second is read
#define p3     AX // where the third is

#define round(off, acc) \
	MOVQ  off(p), x   \
	IMULQ prime2, x   \
	ADDQ  x, acc      \
	ROLQ  $31, acc    \
	IMULQ prime1, acc

// The chunks in vectors: four lanes are a register.
#define P1  Y0 // in each lane; multiplications take the lower half
#define P1H Y1 // the upper half
#define P2  Y2
#define P2H Y3
#define A   Y4
#define B   Y5
#define XA  Y6
#define XB  Y7
#define TA  Y8
#define TB  Y9
#define UA  Y10
#define UB  Y11

// times multiplies lanes of 64 bits, of which a processor without AVX-512 multiplies 32 at a time.
#define times(pl, ph, y, t, u) \
	VPSRLQ   $32, y, t \
	VPMULUDQ ph, y, u  \
	VPMULUDQ pl, t, t  \
	VPMULUDQ pl, y, y  \
	VPADDQ   u, t, t   \
	VPSLLQ   $32, t, t \
	VPADDQ   t, y, y

#define rotate31(y, t) \
	VPSLLQ $31, y, t \
	VPSRLQ $33, y, y \
	VPOR   t, y, y

// func lanes3(lanes *[3][4]uint64, b *byte, size uint64)
TEXT ·lanes3(SB), NOSPLIT|NOFRAME, $0-24
	MOVQ b+8(FP), p
	MOVQ size+16(FP), n
	LEAQ (p)(n*1), end
	MOVQ end, p2
	LEAQ (p2)(n*1), p3

	MOVQ ·primes+0(SB), prime1
	MOVQ ·primes+8(SB), prime2
	VPBROADCASTQ ·primes+0(SB), P1
	VPBROADCASTQ ·primes+8(SB), P2
	VPSRLQ $32, P1, P1H
	VPSRLQ $32, P2, P2H
	VMOVDQU ·start(SB), A
	VMOVDQA A, B
	MOVQ ·start+0(SB), v1
	MOVQ ·start+8(SB), v2
	MOVQ ·start+16(SB), v3
	MOVQ ·start+24(SB), v4

	LEAQ (n)(n*2), R15 // how far the next three chunks are

loop:
	PREFETCHT0 (p)(R15*1)
	PREFETCHT0 (p2)(R15*1)
	PREFETCHT0 (p3)(R15*1)
	VMOVDQU (p2), XA
	VMOVDQU (p3), XB
	round(0, v1)
	times(P2, P2H, XA, TA, UA)
	round(8, v2)
	times(P2, P2H, XB, TB, UB)
	VPADDQ XA, A, A
	VPADDQ XB, B, B
	round(16, v3)
	rotate31(A, TA)
	rotate31(B, TB)
	round(24, v4)
	times(P1, P1H, A, TA, UA)
	times(P1, P1H, B, TB, UB)
	ADDQ $32, p
	ADDQ $32, p2
	ADDQ $32, p3
	CMPQ p, end
	JLT  loop

	MOVQ lanes+0(FP), DI
	MOVQ v1, 0(DI)
	MOVQ v2, 8(DI)
	MOVQ v3, 16(DI)
	MOVQ v4, 24(DI)
	VMOVDQU A, 32(DI)
	VMOVDQU B, 64(DI)
	VZEROUPPER
	RET

//go:build !purego

#include "textflag.h"

// The first two primes, and what the lanes of a chunk begin with: their sum, the second, 0, the first negated.
DATA primes<>+0(SB)/8, $0x9E3779B185EBCA87
DATA primes<>+8(SB)/8, $0xC2B2AE3D27D4EB4F
GLOBL primes<>(SB), RODATA|NOPTR, $16
DATA begin<>+0(SB)/8, $0x60EA27EEADC0B5D6
DATA begin<>+8(SB)/8, $0xC2B2AE3D27D4EB4F
DATA begin<>+16(SB)/8, $0x0000000000000000
DATA begin<>+24(SB)/8, $0x61C8864E7A143579
GLOBL begin<>(SB), RODATA|NOPTR, $32

// The chunk in ordinary registers.
#define p      SI
#define end    BX
#define n      DX
#define v1     R8
#define v2     R9
#define v3     R10
#define v4     R11
#define x      R12
#define prime1 R13
#define prime2 DI
#define ahead  R15

#define round(off, acc) \
	MOVQ  off(p), x   \
	IMULQ prime2, x   \
	ADDQ  x, acc      \
	ROLQ  $31, acc    \
	IMULQ prime1, acc

// The two chunks in vectors, A and B: all four lanes in one register.
#define pA  CX
#define pB  AX
#define A   Y4
#define B   Y5
#define XA  Y6
#define XB  Y7
#define TA  Y8
#define TB  Y9
#define UA  Y10
#define UB  Y11

// The primes in each lane, as they are and shifted down by 32 bits.
#define P1  Y0
#define P1H Y1
#define P2  Y2
#define P2H Y3

// times multiplies lanes by a prime. The processor multiplies their lower halves; the product of the upper ones
// does not count.
#define times(prime, high, y, t, u) \
	VPSRLQ   $32, y, t     \
	VPMULUDQ high, y, u    \
	VPMULUDQ prime, t, t   \
	VPMULUDQ prime, y, y   \
	VPADDQ   u, t, t       \
	VPSLLQ   $32, t, t     \
	VPADDQ   t, y, y

#define rotate31(y, t) \
	VPSLLQ $31, y, t \
	VPSRLQ $33, y, y \
	VPOR   t, y, y

// func mix(l *[3]lanes, b *byte, size uint64)
TEXT ·mix(SB), NOSPLIT|NOFRAME, $0-24
	MOVQ primes<>+0(SB), prime1
	MOVQ primes<>+8(SB), prime2
	VPBROADCASTQ primes<>+0(SB), P1
	VPBROADCASTQ primes<>+8(SB), P2
	VPSRLQ $32, P1, P1H
	VPSRLQ $32, P2, P2H
	MOVQ begin<>+0(SB), v1
	MOVQ begin<>+8(SB), v2
	MOVQ begin<>+16(SB), v3
	MOVQ begin<>+24(SB), v4
	VMOVDQU begin<>(SB), A
	VMOVDQA A, B

	MOVQ b+8(FP), p
	MOVQ size+16(FP), n
	LEAQ (p)(n*1), end
	MOVQ end, pA
	LEAQ (pA)(n*1), pB
	LEAQ (n)(n*2), ahead

loop:
	// The chunks after these. Behind the last there may be no memory, which does no harm.
	PREFETCHT0 (p)(ahead*1)
	PREFETCHT0 (pA)(ahead*1)
	PREFETCHT0 (pB)(ahead*1)

	VMOVDQU (pA), XA
	VMOVDQU (pB), XB
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
	ADDQ $32, pA
	ADDQ $32, pB
	CMPQ p, end
	JLT  loop

	MOVQ l+0(FP), DI
	MOVQ v1, 0(DI)
	MOVQ v2, 8(DI)
	MOVQ v3, 16(DI)
	MOVQ v4, 24(DI)
	VMOVDQU A, 32(DI)
	VMOVDQU B, 64(DI)
	VZEROUPPER
	RET

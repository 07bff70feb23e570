/**
 * What is machine code, and why: see ADR 10.
 *
 * Each function is an `int f(const void *, const void *)` by the ABI of System V,
 * which has its first argument in rdi and its second in rsi. What else it needs or
 * has found is in a page of its own: its *state*. That begins 4096 bytes behind
 * the first of them.
 *
 * A test has the assembler say the bytes again.
 *
 * @module
 */

/**
 * Copies to rdi, which has to be aligned to 16, from rsi, for x86-64 with
 * PCLMULQDQ. In the state are
 *
 * - at 0, a line of 64 bytes, into which all that is copied is folded,
 * - at 64, the two numbers to fold by,
 * - at 80, how many bytes to copy, a multiple of 64 and not 0: afterwards 0; if
 *   rdi is not aligned, nothing is done, and it is left.
 *
 * Each line of 64 bytes is fetched a page ahead, and stored past the cache. On its
 * way it is folded into a line that leaves the same remainder as all that came
 * before: by Gopal et al., "Fast CRC Computation for Generic Polynomials Using
 * PCLMULQDQ Instruction" (Intel, 2009).
 */
export const COPY_SSE = {
  offset: 0,
  listing: `
copy:
  40f6c70f        test $15, %dil
  0f85e7000000    jnz refuse
  488d0def0f0000  lea copy+4096(%rip), %rcx
  488b5150        mov 80(%rcx), %rdx
  660f6f01        movdqa (%rcx), %xmm0
  660f6f4910      movdqa 16(%rcx), %xmm1
  660f6f5120      movdqa 32(%rcx), %xmm2
  660f6f5930      movdqa 48(%rcx), %xmm3
  66440f6f4140    movdqa 64(%rcx), %xmm8
  eb58            jmp enter
line:
  660f6fe0        movdqa %xmm0, %xmm4
  660f6fe9        movdqa %xmm1, %xmm5
  660f6ff2        movdqa %xmm2, %xmm6
  660f6ffb        movdqa %xmm3, %xmm7
  66410f3a44c000  pclmulqdq $0x00, %xmm8, %xmm0
  66410f3a44c800  pclmulqdq $0x00, %xmm8, %xmm1
  66410f3a44d000  pclmulqdq $0x00, %xmm8, %xmm2
  66410f3a44d800  pclmulqdq $0x00, %xmm8, %xmm3
  66410f3a44e011  pclmulqdq $0x11, %xmm8, %xmm4
  66410f3a44e811  pclmulqdq $0x11, %xmm8, %xmm5
  66410f3a44f011  pclmulqdq $0x11, %xmm8, %xmm6
  66410f3a44f811  pclmulqdq $0x11, %xmm8, %xmm7
  660fefc4        pxor %xmm4, %xmm0
  660fefcd        pxor %xmm5, %xmm1
  660fefd6        pxor %xmm6, %xmm2
  660fefdf        pxor %xmm7, %xmm3
enter:
  0f188e00100000  prefetcht0 4096(%rsi)
  f30f6f26        movdqu (%rsi), %xmm4
  f30f6f6e10      movdqu 16(%rsi), %xmm5
  f30f6f7620      movdqu 32(%rsi), %xmm6
  f30f6f7e30      movdqu 48(%rsi), %xmm7
  660fe727        movntdq %xmm4, (%rdi)
  660fe76f10      movntdq %xmm5, 16(%rdi)
  660fe77720      movntdq %xmm6, 32(%rdi)
  660fe77f30      movntdq %xmm7, 48(%rdi)
  660fefc4        pxor %xmm4, %xmm0
  660fefcd        pxor %xmm5, %xmm1
  660fefd6        pxor %xmm6, %xmm2
  660fefdf        pxor %xmm7, %xmm3
  4883c640        add $64, %rsi
  4883c740        add $64, %rdi
  4883ea40        sub $64, %rdx
  0f8559ffffff    jnz line
  0faef8          sfence
  660f7f01        movdqa %xmm0, (%rcx)
  660f7f4910      movdqa %xmm1, 16(%rcx)
  660f7f5120      movdqa %xmm2, 32(%rcx)
  660f7f5930      movdqa %xmm3, 48(%rcx)
  48895150        mov %rdx, 80(%rcx)
refuse:
  31c0            xor %eax, %eax
  c3              ret
`,
} as const;

/** As `COPY_SSE`, a line at once, with AVX-512F and VPCLMULQDQ; rdi aligned to 64. */
export const COPY_AVX512 = {
  offset: 1024,
  listing: `
copy:
  40f6c73f        test $63, %dil
  7565            jnz refuse
  488d0df30b0000  lea copy+3072(%rip), %rcx
  488b5150        mov 80(%rcx), %rdx
  62f1fd486f01    vmovdqa64 (%rcx), %zmm0
  62f27d485a4904  vbroadcasti32x4 64(%rcx), %zmm1
  eb14            jmp enter
line:
  62f37d4844d100  vpclmulqdq $0x00, %zmm1, %zmm0, %zmm2
  62f37d4844c111  vpclmulqdq $0x11, %zmm1, %zmm0, %zmm0
  62f1fd48efc2    vpxorq %zmm2, %zmm0, %zmm0
enter:
  0f188e00100000  prefetcht0 4096(%rsi)
  62f1fe486f1e    vmovdqu64 (%rsi), %zmm3
  62f17d48e71f    vmovntdq %zmm3, (%rdi)
  62f1fd48efc3    vpxorq %zmm3, %zmm0, %zmm0
  4883c640        add $64, %rsi
  4883c740        add $64, %rdi
  4883ea40        sub $64, %rdx
  75c5            jnz line
  0faef8          sfence
  62f1fd487f01    vmovdqa64 %zmm0, (%rcx)
  48895150        mov %rdx, 80(%rcx)
  c5f877          vzeroupper
refuse:
  31c0            xor %eax, %eax
  c3              ret
`,
} as const;

/**
 * Asks the processor (CPUID) what it has, and the kernel (XCR0) what it saves of
 * it, whatever rdi and rsi are. In the state are afterwards: leaf 1's ecx; and,
 * where it can be asked, XCR0; leaf 7's ebx and ecx.
 */
export const FEATURES = {
  offset: 2048,
  listing: `
features:
  53              push %rbx
  4c8d05f8070000  lea features+2048(%rip), %r8
  b801000000      mov $1, %eax
  0fa2            cpuid
  418908          mov %ecx, (%r8)
  0fbae11b        bt $27, %ecx
  731a            jnc done
  31c9            xor %ecx, %ecx
  0f01d0          xgetbv
  41894004        mov %eax, 4(%r8)
  b807000000      mov $7, %eax
  31c9            xor %ecx, %ecx
  0fa2            cpuid
  41895808        mov %ebx, 8(%r8)
  4189480c        mov %ecx, 12(%r8)
done:
  5b              pop %rbx
  31c0            xor %eax, %eax
  c3              ret
`,
} as const;

/** The bytes of a listing. */
export function machineCode(listing: string): Uint8Array {
  const hex = listing.match(/^ {2}[0-9a-f]+/gm) ?? [];
  const digits = hex.map((column) => column.trim()).join("");
  return Uint8Array.from(
    { length: digits.length / 2 },
    (_, i) => Number.parseInt(digits.slice(2 * i, 2 * i + 2), 16),
  );
}

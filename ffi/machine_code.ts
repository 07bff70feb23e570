/**
 * What is machine code, and why: see ADR 10.
 *
 * @module
 */

/**
 * `int copy(void *to, const void *from, size_t bytes)` for x86-64 with PCLMULQDQ,
 * by the ABI of System V: `to` in rdi, aligned to 16, else it does nothing and
 * gives 0; `from` in rsi; `bytes` in rdx, a multiple of 64 and not 0.
 *
 * Each line of 64 bytes is fetched a page ahead, and stored past the cache. On its
 * way it is folded into a line that leaves the same remainder as all that came
 * before: by Gopal et al., "Fast CRC Computation for Generic Polynomials Using
 * PCLMULQDQ Instruction" (Intel, 2009). That line, and behind it the two numbers
 * to fold by, are in memory a page behind the code.
 *
 * A test has the assembler say the bytes again.
 */
export const COPY_X64 = `
  40f6c70f        test $15, %dil
  0f85e5000000    jnz refuse
  488d0def0f0000  lea copy+4096(%rip), %rcx
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
  b801000000      mov $1, %eax
  c3              ret
refuse:
  31c0            xor %eax, %eax
  c3              ret
`;

/** What a processor says that it has (CPUID, leaf 1, ecx), whatever it is given. */
export const FEATURES_X64 = `
  53              push %rbx
  b801000000      mov $1, %eax
  0fa2            cpuid
  89c8            mov %ecx, %eax
  5b              pop %rbx
  c3              ret
`;

/** The bytes of a listing. */
export function machineCode(listing: string): Uint8Array {
  const hex = listing.match(/^ {2}[0-9a-f]+/gm) ?? [];
  const digits = hex.map((column) => column.trim()).join("");
  return Uint8Array.from(
    { length: digits.length / 2 },
    (_, i) => Number.parseInt(digits.slice(2 * i, 2 * i + 2), 16),
  );
}

# A guest that is nothing but firmware: it goes to 64-bit mode, works there for a
# while with what kernels use (paging, cmpxchg16b, string moves), writes a line to
# the serial port and leaves by isa-debug-exit. Hardware virtualisation that works
# runs it in some milliseconds; where each instruction is emulated one by one, or
# where one of them is not known, it does not end in time.
#
#   as --64 probe.S -o probe.o && objcopy -O binary -j .text probe.o probe.bin
#
# The file is the last 1024 bytes of a firmware image of 64 KiB.

	.set BASE, 0xFFC00		# where the file lies below 1 MiB
	.set LOOPS, 300000

	.text
	.code16
start:
	cli
	lgdtl	%cs:gdtr - start + 0xFC00
	movl	%cr0, %eax
	orl	$1, %eax
	movl	%eax, %cr0
	ljmpl	$8, $(BASE + enter32 - start)

	.code32
enter32:
	movw	$16, %ax
	movw	%ax, %ds
	movw	%ax, %es
	movw	%ax, %ss
	movl	$0x8000, %esp
	# Page tables at 0x1000: one PML4 entry, one PDPT entry, 512 pages of 2 MiB.
	movl	$0x1000, %edi
	xorl	%eax, %eax
	movl	$0x0C00, %ecx
	cld
	rep stosl
	movl	$0x2003, 0x1000
	movl	$0x3003, 0x2000
	movl	$0x3000, %edi
	movl	$0x83, %eax
	movl	$512, %ecx
1:	movl	%eax, (%edi)
	addl	$0x200000, %eax
	addl	$8, %edi
	loop	1b
	movl	%cr4, %eax
	orl	$0x20, %eax		# PAE
	movl	%eax, %cr4
	movl	$0x1000, %eax
	movl	%eax, %cr3
	movl	$0xC0000080, %ecx	# EFER
	rdmsr
	orl	$0x100, %eax		# LME
	wrmsr
	movl	%cr0, %eax
	orl	$0x80000000, %eax
	movl	%eax, %cr0
	ljmpl	$24, $(BASE + enter64 - start)

	.code64
enter64:
	movl	$LOOPS, %ebp
	movq	$0x10000, %r8
2:	movq	%r8, %rsi
	leaq	0x1000(%r8), %rdi
	movl	$32, %ecx
	rep movsb
	xorl	%eax, %eax
	xorl	%edx, %edx
	movl	%ebp, %ebx
	xorl	%ecx, %ecx
	lock cmpxchg16b (%r8)
	lock addq $1, 16(%r8)
	testl	$0xFFF, %ebp
	jnz	3f
	movq	%cr3, %rax
	movq	%rax, %cr3
	cpuid
3:	decl	%ebp
	jnz	2b
	movl	$(BASE + line - start), %esi
	movw	$0x3F8, %dx
4:	lodsb
	testb	%al, %al
	jz	5f
	outb	%al, %dx
	jmp	4b
5:	movb	$0x10, %al
	outb	%al, $0xF4
6:	hlt
	jmp	6b

line:	.asciz	"relight probe ok\n"
	.balign 8
gdt:	.quad	0
	.quad	0x00CF9A000000FFFF	# 32-bit code
	.quad	0x00CF92000000FFFF	# data
	.quad	0x00AF9A000000FFFF	# 64-bit code
gdtr:	.word	31
	.long	BASE + gdt - start

	.org	0x3F0
	.code16
	jmp	start
	.org	0x400

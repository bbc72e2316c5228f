// The bytes of the model that the program carries with it, and of a text to evaluate models on, as they are in the file. embedded_model.h gives them to C++.
#if defined(__APPLE__)
#define SYMBOL(name) _##name
        .section __DATA,__const
#else
#define SYMBOL(name) name
        .section .rodata
#endif
        .globl SYMBOL(inferos_embedded_model_begin)
        .globl SYMBOL(inferos_embedded_model_end)
        .p2align 6
SYMBOL(inferos_embedded_model_begin):
        .incbin INFEROS_EMBEDDED_MODEL
SYMBOL(inferos_embedded_model_end):
        .byte 0
        .globl SYMBOL(inferos_embedded_text_begin)
        .globl SYMBOL(inferos_embedded_text_end)
SYMBOL(inferos_embedded_text_begin):
        .incbin INFEROS_EMBEDDED_TEXT
SYMBOL(inferos_embedded_text_end):
        .byte 0
#if defined(__linux__) && defined(__ELF__)
        .section .note.GNU-stack, "", %progbits
#endif

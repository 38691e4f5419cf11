/* A stand-in for Rockchip's librkllmrt.so, version 1.3.0: the same symbols and structure layout, written anew. */
#ifndef STAND_IN_H
#define STAND_IN_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
    int32_t base_domain_id;
    int8_t embed_flash, enabled_cpus_num;
    uint32_t enabled_cpus_mask;
    uint8_t n_batch;
    int8_t use_cross_attn;
    uint8_t reserved[104];
} ExtendParam;

typedef struct {
#ifdef OTHER_LAYOUT /* as in a version whose fields stand elsewhere */
    const char *added;
#endif
    const char *model_path;
    int32_t max_context_len, max_new_tokens, top_k, n_keep;
    float top_p, temperature, repeat_penalty, frequency_penalty, presence_penalty;
    int32_t mirostat;
    float mirostat_tau, mirostat_eta;
    bool skip_special_token, ignore_eos_token, is_async;
    ExtendParam extend_param;
} Param;

typedef struct {
    const char *role;
    bool enable_thinking;
    int input_type;
    union {
        const char *prompt;
        struct { int32_t *input_ids; size_t num_tokens; } token;
        uint8_t multimodal[144];
    };
} Input;

typedef struct {
    int32_t top_k;
    float top_p, temperature, repeat_penalty, frequency_penalty, presence_penalty;
    int32_t mirostat;
    float mirostat_tau, mirostat_eta;
} SamplingParam;

typedef struct {
    int mode;
    void *lora, *prompt_cache;
    SamplingParam *sampling;
    int keep_history;
    int32_t max_new_tokens;
} InferParam;

typedef struct {
    const char *text;
    int32_t token_id;
    struct { const float *states; int size, num_tokens; } hidden;
    struct { const float *logits; int vocab_size, num_tokens; } logits;
    struct { float prefill_time_ms; int prefill_tokens; float generate_time_ms; int generate_tokens; float memory_usage_mb; } perf;
} Result;

typedef int (*ResultCallback)(Result *, void *, int state);
typedef struct {
    ResultCallback result;
    void *result_userdata, *tokenizer, *tokenizer_userdata, *embed, *embed_userdata;
} Callback;

_Static_assert(sizeof(ExtendParam) == 120, "ExtendParam");
_Static_assert(sizeof(Input) == 160, "Input");
_Static_assert(sizeof(InferParam) == 40, "InferParam");
_Static_assert(sizeof(SamplingParam) == 36, "SamplingParam");
_Static_assert(sizeof(Result) == 72, "Result");
_Static_assert(sizeof(Callback) == 48, "Callback");
#ifndef OTHER_LAYOUT
_Static_assert(sizeof(Param) == 184, "Param");
_Static_assert(offsetof(Param, skip_special_token) == 56 && offsetof(Param, extend_param) == 60, "Param");
#endif
_Static_assert(offsetof(Input, token) == 16 && offsetof(InferParam, max_new_tokens) == 36, "Input");
#endif

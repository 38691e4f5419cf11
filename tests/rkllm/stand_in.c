/* What the runtime does with tokens, for tests: a model file of cues and replies instead of a network.

   Model file: first line "VOCABULARY PAUSE_KEEPS DELAY_US", then one line for each cue, "cue ids | reply ids". After the
   last cue that the held tokens contain, its reply goes on; past its end, token 0. PAUSE_KEEPS 1: a token at which the
   callback pauses is held, 0: it is not (what the real runtime does is not known). */
#define _DEFAULT_SOURCE
#define _POSIX_C_SOURCE 200809L
#include "stand_in.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MAX_LINES = 64, MAX_IDS = 4096 };
typedef struct { int32_t cue[MAX_IDS], reply[MAX_IDS]; int num_cue, num_reply; } Line;
typedef struct {
    Callback callback;
    int vocabulary, pause_keeps, delay_us, context, num_lines, num_held;
    volatile int is_aborted;
    int32_t *held;
    float *logits;
    Line *lines;
} Model;

static int read_ids(char *text, int32_t *ids) {
    int count = 0;
    for (char *word = strtok(text, " \n"); word && count < MAX_IDS; word = strtok(NULL, " \n")) ids[count++] = atoi(word);
    return count;
}

Param rkllm_createDefaultParam(void) {
    Param param;
    memset(&param, 0, sizeof param);
    param.max_context_len = 4096;
    param.max_new_tokens = -1;
    param.top_k = 40;
    param.top_p = 0.9f;
    param.temperature = 0.8f;
    param.repeat_penalty = 1.1f;
    param.mirostat_tau = 5.0f;
    param.mirostat_eta = 0.1f;
    param.extend_param.enabled_cpus_num = 4;
    param.extend_param.enabled_cpus_mask = 0xf0;
    param.extend_param.n_batch = 1;
    return param;
}

int rkllm_init(void **handle, Param *param, Callback *callback) {
    char *line = NULL;
    size_t size = 0;
    FILE *file = fopen(param->model_path, "r");
    Model *model = calloc(1, sizeof *model);
    if (!file || fscanf(file, "%d %d %d\n", &model->vocabulary, &model->pause_keeps, &model->delay_us) != 3) {
        if (file) fclose(file);
        free(model);
        return -1;
    }
    model->callback = *callback;
    model->context = param->max_context_len;
    model->held = calloc(model->context, sizeof *model->held);
    model->logits = calloc(model->vocabulary, sizeof *model->logits);
    model->lines = calloc(MAX_LINES, sizeof *model->lines);
    while (getline(&line, &size, file) > 0 && model->num_lines < MAX_LINES) {
        Line *next = &model->lines[model->num_lines];
        char *bar = strchr(line, '|');
        if (!bar) continue;
        *bar = 0;
        next->num_cue = read_ids(line, next->cue);
        next->num_reply = read_ids(bar + 1, next->reply);
        model->num_lines++;
    }
    free(line);
    fclose(file);
    *handle = model;
    return 0;
}

static int next_token(const Model *model) {
    for (int end = model->num_held; end > 0; end--)
        for (int at = 0; at < model->num_lines; at++) {
            const Line *line = &model->lines[at];
            int spoken = model->num_held - end;
            if (line->num_cue <= end && spoken < line->num_reply &&
                !memcmp(model->held + end - line->num_cue, line->cue, line->num_cue * sizeof(int32_t)) &&
                !memcmp(model->held + end, line->reply, spoken * sizeof(int32_t)))
                return line->reply[spoken];
        }
    return 0;
}

static int tell(Model *model, Result *result, int state) {
    return model->callback.result(result, model->callback.result_userdata, state);
}

int rkllm_run(void *handle, Input *input, InferParam *infer, void *userdata) {
    Model *model = handle;
    int count = (int)input->token.num_tokens, verdict = 0;
    (void)userdata;
    if (input->input_type != 1 || (infer->mode != 0 && infer->mode != 2)) return -1;
    model->is_aborted = 0;
    if (!infer->keep_history) model->num_held = 0;
    if (model->num_held + count > model->context) return -1;
    memcpy(model->held + model->num_held, input->token.input_ids, count * sizeof(int32_t));
    model->num_held += count;
    if (infer->mode == 2) {
        Result result = {0};
        memset(model->logits, 0, model->vocabulary * sizeof(float));
        model->logits[next_token(model)] = 20;
        model->logits[1] += 1; /* the second best everywhere */
        result.logits.logits = model->logits;
        result.logits.vocab_size = model->vocabulary;
        result.logits.num_tokens = 1;
        usleep(model->delay_us);
        tell(model, &result, 0);
    } else {
        for (int made = 0; verdict == 0 && !model->is_aborted; made++) {
            Result result = {0};
            if (made == infer->max_new_tokens || model->num_held == model->context) break;
            result.token_id = next_token(model);
            result.text = "";
            usleep(model->delay_us);
            verdict = tell(model, &result, 0);
            if (verdict == 0 || model->pause_keeps) model->held[model->num_held++] = result.token_id;
        }
    }
    Result finish = {0};
    if (verdict == 0) tell(model, &finish, 2);
    return 0;
}

int rkllm_abort(void *handle) { ((Model *)handle)->is_aborted = 1; return 0; }

int rkllm_get_kv_cache_size(void *handle, int *sizes) { sizes[0] = ((Model *)handle)->num_held; return 0; }

int rkllm_clear_kv_cache(void *handle, int keep_system, int *start, int *end) {
    Model *model = handle;
    (void)keep_system;
    if (start[0] < 0 || end[0] > model->num_held || start[0] > end[0]) return -1;
    memmove(model->held + start[0], model->held + end[0], (model->num_held - end[0]) * sizeof(int32_t));
    model->num_held -= end[0] - start[0];
    return 0;
}

int rkllm_destroy(void *handle) {
    Model *model = handle;
    free(model->held);
    free(model->logits);
    free(model->lines);
    free(model);
    return 0;
}

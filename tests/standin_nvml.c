/* Stands in for the NVIDIA driver's management library.
 *
 * What it has is in the file that STANDIN_NVML names, read anew at each count:
 *     UUID|NAME|MIB|MINOR|MAJOR|LESSER     one GPU a line
 *     lost                                 a GPU that has fallen off the bus
 *     broken                               the driver itself answers with an error
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GPUS_MAX 16
#define NOT_FOUND 6
#define GPU_IS_LOST 15
#define UNKNOWN 999

struct gpu { int lost; char uuid[80], name[80]; unsigned long long mib; unsigned minor; int major, lesser; };
static struct gpu gpus[GPUS_MAX];
static unsigned count;
static int initialized, broken;

static int look(void) {
    char line[256];
    const char *path = getenv("STANDIN_NVML");
    FILE *file = path ? fopen(path, "r") : NULL;
    count = 0;
    broken = 0;
    if (!file) return UNKNOWN;
    while (count < GPUS_MAX && fgets(line, sizeof line, file)) {
        struct gpu *gpu = &gpus[count];
        memset(gpu, 0, sizeof *gpu);
        if (!strncmp(line, "broken", 6)) { broken = 1; continue; }
        gpu->lost = !strncmp(line, "lost", 4);
        if (gpu->lost || sscanf(line, "%79[^|]|%79[^|]|%llu|%u|%d|%d", gpu->uuid, gpu->name,
                                &gpu->mib, &gpu->minor, &gpu->major, &gpu->lesser) == 6)
            count++;
    }
    fclose(file);
    return broken ? UNKNOWN : 0;
}

int nvmlInit_v2(void) { int code = look(); initialized = !code; return code; }
int nvmlShutdown(void) { initialized = 0; return 0; }
int nvmlDeviceGetCount_v2(unsigned *n) { int code = look(); *n = count; return code; }
int nvmlSystemGetDriverVersion(char *text, unsigned size) { snprintf(text, size, "550.54.15"); return 0; }
int nvmlSystemGetCudaDriverVersion(int *version) { *version = 12040; return 0; }

int nvmlDeviceGetHandleByIndex_v2(unsigned index, struct gpu **handle) {
    if (!initialized || index >= count) return NOT_FOUND;
    *handle = &gpus[index];
    return gpus[index].lost ? GPU_IS_LOST : 0;
}
int nvmlDeviceGetMemoryInfo(struct gpu *gpu, unsigned long long *memory) {
    memory[0] = gpu->mib << 20;
    memory[1] = memory[0];
    memory[2] = 0;
    return 0;
}
int nvmlDeviceGetMinorNumber(struct gpu *gpu, unsigned *minor) { *minor = gpu->minor; return 0; }
int nvmlDeviceGetCudaComputeCapability(struct gpu *gpu, int *major, int *minor) {
    *major = gpu->major;
    *minor = gpu->lesser;
    return 0;
}
int nvmlDeviceGetUUID(struct gpu *gpu, char *text, unsigned size) { snprintf(text, size, "%s", gpu->uuid); return 0; }
int nvmlDeviceGetName(struct gpu *gpu, char *text, unsigned size) { snprintf(text, size, "%s", gpu->name); return 0; }

/* A CUDA driver that describes GPUS GPUs of compute capability 7.5, and knows CUDA up to CUDA. */
#include <stddef.h>
#include <string.h>
int cuInit(unsigned flags) { return 0; }
int cuDeviceGetCount(int *count) { *count = GPUS; return 0; }
int cuDeviceGet(int *device, int ordinal) { *device = ordinal; return 0; }
int cuDeviceGetName(char *name, int length, int device) { strncpy(name, "Tesla T4", length); return 0; }
int cuDeviceTotalMem_v2(size_t *bytes, int device) { *bytes = 15 * (size_t)1073741824; return 0; }
int cuDriverGetVersion(int *version) { *version = CUDA; return 0; }
int cuDeviceGetAttribute(int *value, int attribute, int device) {
  *value = attribute == 75 ? 7 : attribute == 76 ? 5 : 0;
  return 0;
}

/* What TensorRT's Python bindings need of its libraries to be imported. Every factory gives
   nothing, as on a machine where TensorRT finds no GPU. */
#include <stdbool.h>
#include <stddef.h>
void *createInferBuilder_INTERNAL(void *log, int version) { return NULL; }
void *createInferRefitter_INTERNAL(void *engine, void *log, int version) { return NULL; }
void *createInferRuntime_INTERNAL(void *log, int version) { return NULL; }
void *createNvOnnxParserRefitter_INTERNAL(void *refitter, void *log, int version) { return NULL; }
void *createNvOnnxParser_INTERNAL(void *network, void *log, int version) { return NULL; }
void *getBuilderPluginRegistry(int capability) { return NULL; }
void *getPluginRegistry(void) { return NULL; }
int getNvOnnxParserVersion(void) { return 0; }
bool initLibNvInferPlugins(void *log, const char *space) { return false; }

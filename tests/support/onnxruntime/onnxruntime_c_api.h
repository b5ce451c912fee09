/* The part of ONNX Runtime's C interface that the packaged program uses, for a test with the library of the Python
 * package, which comes without headers. OrtApi is a list of functions whose places never change; those that are not
 * used are gaps. */
#include <stddef.h>
#include <stdint.h>

#define ORT_API_VERSION 17
typedef struct OrtStatus OrtStatus;
typedef struct OrtEnv OrtEnv;
typedef struct OrtSession OrtSession;
typedef struct OrtSessionOptions OrtSessionOptions;
typedef struct OrtRunOptions OrtRunOptions;
typedef struct OrtMemoryInfo OrtMemoryInfo;
typedef struct OrtValue OrtValue;
enum { ORT_LOGGING_LEVEL_ERROR = 3, OrtArenaAllocator = 1, OrtMemTypeDefault = 0 };
enum { ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64 = 7 };

typedef struct {
  void *gap0[2];
  const char *(*GetErrorMessage)(const OrtStatus *);
  OrtStatus *(*CreateEnv)(int, const char *, OrtEnv **);
  void *gap1[3];
  OrtStatus *(*CreateSession)(const OrtEnv *, const char *, const OrtSessionOptions *, OrtSession **);
  void *gap2[1];
  OrtStatus *(*Run)(OrtSession *, const OrtRunOptions *, const char *const *, const OrtValue *const *, size_t,
                    const char *const *, size_t, OrtValue **);
  OrtStatus *(*CreateSessionOptions)(OrtSessionOptions **);
  void *gap3[13];
  OrtStatus *(*SetIntraOpNumThreads)(OrtSessionOptions *, int);
  void *gap4[24];
  OrtStatus *(*CreateTensorWithDataAsOrtValue)(const OrtMemoryInfo *, void *, size_t, const int64_t *, size_t, int,
                                               OrtValue **);
  void *gap5[1];
  OrtStatus *(*GetTensorMutableData)(OrtValue *, void **);
  void *gap6[17];
  OrtStatus *(*CreateCpuMemoryInfo)(int, int, OrtMemoryInfo **);
  void *gap7[22];
  void (*ReleaseEnv)(OrtEnv *);
  void *gap8[1];
  void (*ReleaseMemoryInfo)(OrtMemoryInfo *);
  void (*ReleaseSession)(OrtSession *);
  void (*ReleaseValue)(OrtValue *);
  void *gap9[3];
  void (*ReleaseSessionOptions)(OrtSessionOptions *);
} OrtApi;

typedef struct {
  const OrtApi *(*GetApi)(uint32_t);
} OrtApiBase;

const OrtApiBase *OrtGetApiBase(void);

/* load LIBRARY PLUGIN: loads the library and, as a program does, a plugin that is linked to it,
   lets it go and loads it again, on another thread. */
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>

static void* load(void* file) {
  void* library = dlopen(file, RTLD_NOW);
  if (!library) {
    fprintf(stderr, "%s\n", dlerror());
    return NULL;
  }
  int (*works)(void) = (int (*)(void))dlsym(library, "works");
  if (works && !works()) fprintf(stderr, "%s computes what is wrong\n", (char*)file), file = NULL;
  dlclose(library);
  return file;
}

int main(int count, char** libraries) {
  for (int i = 1; i < count; ++i) {
    pthread_t thread;
    void* loaded;
    if (!load(libraries[i])) return 1;
    if (pthread_create(&thread, NULL, load, libraries[i]) || pthread_join(thread, &loaded) ||
        !loaded)
      return 1;
  }
  return 0;
}

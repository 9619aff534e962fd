/* Loads libraries as a program loads its plugins: load LIBRARY... */
#include <dlfcn.h>
#include <stdio.h>

int main(int count, char** libraries) {
  for (int i = 1; i < count; ++i)
    if (!dlopen(libraries[i], RTLD_NOW)) {
      fprintf(stderr, "%s\n", dlerror());
      return 1;
    }
  return 0;
}

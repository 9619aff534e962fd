/* Words that other libraries' headers define as macros. Ours are included after it. */
#include <complex.h> /* I, in gnu++20 */
#if __has_include(<X11/Xlib.h>)
#include <X11/Xlib.h> /* None, Success, Status, Bool, True, False, Always, ... */
#endif

/* Qt */
#define slots
#define signals public
#define emit
#define foreach for
#define forever for (;;)

/* Windows */
#undef min
#undef max
#define min(a, b) ((a) < (b) ? (a) : (b))
#define max(a, b) ((a) > (b) ? (a) : (b))
#define small char
#define near
#define far
#define interface struct
#define IN
#define OUT
#define OPTIONAL
#define CONST const
#define VOID void
#define TRUE 1
#define FALSE 0
#define ERROR 0
#define NO_ERROR 0
#define DELETE 1
#define ABSOLUTE 1
#define RELATIVE 2
#define STRICT 1
#define DOMAIN 1
#define OVERFLOW 3
#define UNDERFLOW 4
#define GetObject GetObjectA
#define Yield()

/* Carbon, Boost, the Linux kernel, logging, C programs */
#undef check
#undef verify
#undef require
#define check(condition) ((void)(condition))
#define verify(condition) ((void)(condition))
#define require(condition) ((void)(condition))
#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#define nil 0
#define DEBUG 1
#define INFO 2
#define WARNING 3
#define FAIL 4
#define SUCCESS 0
#define EMPTY 0
#define CHECK(condition) ((void)(condition))
#define ASSERT(condition) ((void)(condition))
#define LOG(level) (level)
#define E 2.718281828459045
#define PI 3.141592653589793
#define EPSILON 1e-6

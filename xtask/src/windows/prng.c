/* bcryptprimitives.dll for a Wine that has none: Rust's std takes the seeds of its hash maps from
   it. What advapi32 calls SystemFunction036 is the same source of random bytes (RtlGenRandom). */
#include <windows.h>

BOOLEAN NTAPI SystemFunction036(PVOID bytes, ULONG count);

__declspec(dllexport) BOOL WINAPI ProcessPrng(PBYTE bytes, SIZE_T count)
{
    return SystemFunction036(bytes, (ULONG)count);
}

/* Runs a program and, once its own input ends, presses Ctrl-C for it: from outside of Windows there
   is no other way to ask a program to end. Ends with the program's exit code; if it is killed, so
   is the program. */
#include <stdio.h>
#include <string.h>
#include <windows.h>

/* How long the program may take to end. */
#define END_MS 30000

int main(int count, char **words)
{
    STARTUPINFOA start = {sizeof start};
    PROCESS_INFORMATION process;
    char line[8000] = "", byte;
    DWORD got, code = 1;
    HANDLE input = GetStdHandle(STD_INPUT_HANDLE), job = CreateJobObjectA(NULL, NULL);
    JOBOBJECT_EXTENDED_LIMIT_INFORMATION limits = {0};

    start.dwFlags = STARTF_USESTDHANDLES;
    start.hStdOutput = GetStdHandle(STD_OUTPUT_HANDLE);
    start.hStdError = GetStdHandle(STD_ERROR_HANDLE);
    for (int i = 1; i < count; i++)
        snprintf(line + strlen(line), sizeof line - strlen(line), "\"%s\" ", words[i]);
    /* Ctrl-C belongs to a console, and goes to all that share it. */
    FreeConsole();
    if (!AllocConsole()) {
        fprintf(stderr, "operator: no console: error %lu\n", GetLastError());
        return 1;
    }
    if (!CreateProcessA(NULL, line, NULL, NULL, TRUE, 0, NULL, NULL, &start, &process)) {
        fprintf(stderr, "operator: cannot start %s: error %lu\n", line, GetLastError());
        return 1;
    }
    limits.BasicLimitInformation.LimitFlags = JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE;
    SetInformationJobObject(job, JobObjectExtendedLimitInformation, &limits, sizeof limits);
    if (!AssignProcessToJobObject(job, process.hProcess))
        fprintf(stderr, "operator: no job: error %lu\n", GetLastError());
    while (ReadFile(input, &byte, 1, &got, NULL) && got) {}
    /* After the program was started, or it would inherit that Ctrl-C is ignored. */
    SetConsoleCtrlHandler(NULL, TRUE);
    GenerateConsoleCtrlEvent(CTRL_C_EVENT, 0);
    if (WaitForSingleObject(process.hProcess, END_MS)) {
        fprintf(stderr, "operator: still there %d ms after Ctrl-C\n", END_MS);
        TerminateProcess(process.hProcess, 1);
    } else {
        GetExitCodeProcess(process.hProcess, &code);
    }
    return (int)code;
}

/* Runs a command and says in a file what it took: "STARTED_NS ENDED_NS PEAK_KIB CPU_NS STATUS", CLOCK_MONOTONIC.
 *
 *     measure FILE COMMAND ARG...
 *
 * Peak and CPU time are those of the command and the children that it waited for.  A process's peak starts with that of
 * the one it was forked from, so a small one must fork it.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static long now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000L + t.tv_nsec;
}

static long ns(struct timeval t)
{
	return t.tv_sec * 1000000000L + t.tv_usec * 1000L;
}

int main(int argc, char **argv)
{
	struct rusage used;
	int status;
	long start = now();
	pid_t child = argc > 2 ? fork() : -1;
	FILE *out;

	if (child == 0) {
		execvp(argv[2], argv + 2);
		_exit(127);
	}
	signal(SIGINT, SIG_IGN);
	if (child < 0 || wait4(child, &status, 0, &used) != child || !(out = fopen(argv[1], "w")))
		return 2;
	fprintf(out, "%ld %ld %ld %ld %d\n", start, now(), used.ru_maxrss, ns(used.ru_utime) + ns(used.ru_stime),
		WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
	return fclose(out) != 0;
}

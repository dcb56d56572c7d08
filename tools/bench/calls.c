/* The measured loop of bench-overhead: makes system calls when told to and says what one of them took.
 *
 *     calls FILE CPU
 *
 * Each line on standard input, "CALL COUNT THREADS", makes every thread do COUNT calls of CALL (pread64, pwrite64:
 * 64 bytes at offset 0 of FILE, one descriptor for all threads; getppid) and is answered with a line of nanoseconds
 * per call.  Thread i runs on CPU + i, modulo the CPUs there are.
 *
 * The answer is the median over blocks of BLOCK calls, each shorter than a scheduler's time slice: blocks in which
 * somebody else had the CPU do not matter unless they are half of all.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define BLOCK 500
#define BYTES 64
#define MAX_THREADS 64

static int file, first_cpu, cpus;
static char call[16];
static long blocks;
static pthread_barrier_t start;

static long run_block(void)
{
	char data[BYTES] = "";
	struct timespec from, to;

	clock_gettime(CLOCK_MONOTONIC, &from);
	if (!strcmp(call, "pread64"))
		for (int i = 0; i < BLOCK; i++)
			syscall(SYS_pread64, file, data, BYTES, 0L);
	else if (!strcmp(call, "pwrite64"))
		for (int i = 0; i < BLOCK; i++)
			syscall(SYS_pwrite64, file, data, BYTES, 0L);
	else
		for (int i = 0; i < BLOCK; i++)
			syscall(SYS_getppid);
	clock_gettime(CLOCK_MONOTONIC, &to);
	return (to.tv_sec - from.tv_sec) * 1000000000L + to.tv_nsec - from.tv_nsec;
}

static int by_size(const void *a, const void *b)
{
	long x = *(const long *)a, y = *(const long *)b;

	return (x > y) - (x < y);
}

static void pin(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu % cpus, &set);
	sched_setaffinity(0, sizeof(set), &set);
}

static void *run(void *number)
{
	double *median = malloc(sizeof(*median));
	long *took = calloc(blocks, sizeof(*took));

	pin(first_cpu + (int)(long)number);
	pthread_barrier_wait(&start);
	for (long i = 0; i < blocks; i++)
		took[i] = run_block();
	qsort(took, blocks, sizeof(*took), by_size);
	*median = (double)took[blocks / 2] / BLOCK;
	free(took);
	return median;
}

int main(int argc, char **argv)
{
	long count, threads;

	if (argc != 3 || (file = open(argv[1], O_RDWR | O_CLOEXEC)) < 0)
		return 2;
	first_cpu = atoi(argv[2]);
	cpus = (int)sysconf(_SC_NPROCESSORS_ONLN);
	while (scanf("%15s %ld %ld", call, &count, &threads) == 3 && count >= BLOCK && threads <= MAX_THREADS) {
		pthread_t thread[MAX_THREADS];
		double sum = 0;

		blocks = count / BLOCK;
		pthread_barrier_init(&start, NULL, (unsigned)threads);
		for (long i = 0; i < threads; i++)
			if (pthread_create(&thread[i], NULL, run, (void *)i))
				return 3;
		for (long i = 0; i < threads; i++) {
			void *median;

			pthread_join(thread[i], &median);
			sum += *(double *)median;
			free(median);
		}
		pthread_barrier_destroy(&start);
		printf("%.3f\n", sum / (double)threads);
		fflush(stdout);
	}
	return 0;
}

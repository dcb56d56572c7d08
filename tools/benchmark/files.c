/* The measured workloads on many files.  All say on standard output how much they did, and when
 * (CLOCK_MONOTONIC, ns): "CALLS BEGUN_NS ENDED_NS".
 *
 *     files make DIRECTORY FILES BYTES keep|unlink RATE    create, write BYTES, close; at most RATE files a second
 *     files read DIRECTORY FILES RATE SECONDS              pread64 of 64 bytes of each in turn, RATE a second in all
 *
 * RATE 0 is as fast as it goes.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define PER_DIRECTORY 1000
#define STEP 64		/* calls between two looks at the clock */
#define LATE 50000000	/* ns */

static long now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000L + t.tv_nsec;
}

/* Waits until `done` things at `rate` a second may have been done since `start`; who is later than LATE is forgiven. */
static void pace(long *start, long done, long rate)
{
	long due = rate ? *start + (long)((double)done / (double)rate * 1e9) : 0, wait = due - now();
	struct timespec t = {wait / 1000000000L, wait % 1000000000L};

	if (wait > 50000)
		nanosleep(&t, NULL);
	else if (rate && wait < -LATE)
		*start -= wait + LATE;
}

static void name(char *path, size_t size, const char *directory, long number)
{
	snprintf(path, size, "%s/%ld", directory, number / PER_DIRECTORY);
	if (number % PER_DIRECTORY == 0)
		mkdir(path, 0755);
	snprintf(path, size, "%s/%ld/%ld", directory, number / PER_DIRECTORY, number % PER_DIRECTORY);
}

static int make(const char *directory, long files, long bytes, int keep, long rate)
{
	char path[4096], *data = calloc(1, (size_t)bytes);
	long start = now(), paced = start;

	for (long i = 0; i < files; i++) {
		int file;

		name(path, sizeof(path), directory, i);
		file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
		if (file < 0 || write(file, data, (size_t)bytes) != bytes || close(file) || (!keep && unlink(path)))
			return 1;
		if (rate && i % STEP == 0)
			pace(&paced, i, rate);
	}
	printf("%ld %ld %ld\n", files, start, now());
	return 0;
}

static int read_all(const char *directory, long files, long rate, double seconds)
{
	char path[4096], data[64] = "";
	int *file = calloc((size_t)files, sizeof(*file));
	long start, paced, end, made = 0;

	for (long i = 0; i < files; i++) {
		name(path, sizeof(path), directory, i);
		file[i] = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
		if (file[i] < 0 || write(file[i], data, sizeof(data)) != sizeof(data))
			return 1;
	}
	start = paced = now();
	end = start + (long)(seconds * 1e9);
	for (long i = 0; now() < end; i = (i + STEP) % files) {
		for (long k = 0; k < STEP; k++)
			if (pread(file[(i + k) % files], data, sizeof(data), 0) != sizeof(data))
				return 1;
		made += STEP;
		pace(&paced, made, rate);
	}
	printf("%ld %ld %ld\n", made, start, now());
	return 0;
}

int main(int argc, char **argv)
{
	struct rlimit limit;

	if (!getrlimit(RLIMIT_NOFILE, &limit)) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_NOFILE, &limit);
	}
	if (argc == 7 && !strcmp(argv[1], "make"))
		return make(argv[2], atol(argv[3]), atol(argv[4]), !strcmp(argv[5], "keep"), atol(argv[6]));
	if (argc == 6 && !strcmp(argv[1], "read"))
		return read_all(argv[2], atol(argv[3]), atol(argv[4]), atof(argv[5]));
	return 2;
}

/* Loads of names.  Each says on standard output how much it did, and when (CLOCK_MONOTONIC, ns):
 * "OPENS BEGUN_NS ENDED_NS".
 *
 *     names LOAD DIRECTORY NUMBER OF
 *
 *     files       create NUMBER files, OF in a directory
 *     renamed     the same in one directory, and afterwards give each of them a new name
 *     replaced    NUMBER times: write a temporary file, give it the next of OF names
 *     same        the same with a single name for the temporary file
 *     between     NUMBER times: write one of two names, and rename it to the other
 *     chain       rename a file NUMBER times, each time to a new name, opening it by each
 *     unlinked    NUMBER times: create, write and unlink the same name
 *     above       create NUMBER files in a directory, and rename the directory OF times
 *     beside      the same, but rename another directory
 *     deep        NUMBER times: a new file at the bottom of OF directories, and the topmost of them renamed
 *     links       NUMBER times: a file renamed in a directory that then becomes a chain of OF symbolic links
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static long opens;

static long now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000L + t.tv_nsec;
}

static void check(int failed, const char *what)
{
	if (failed) {
		perror(what);
		exit(1);
	}
}

static void store(int directory, const char *path)
{
	int file = openat(directory, path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);

	check(file < 0 || write(file, "12345", 5) != 5 || close(file), path);
	opens++;
}

static void make(const char *format, long number)
{
	char path[256];

	for (long i = 0; i < number; i++) {
		snprintf(path, sizeof(path), format, i);
		store(AT_FDCWD, path);
	}
}

static void files(long number, long of)
{
	char path[256];

	for (long i = 0; i < number; i++) {
		snprintf(path, sizeof(path), "%ld", i / of);
		if (i % of == 0)
			check(mkdir(path, 0755), path);
		snprintf(path, sizeof(path), "%ld/%ld", i / of, i);
		store(AT_FDCWD, path);
	}
}

static void renamed(long number)
{
	char path[256], target[256];

	make("old%ld", number);
	for (long i = 0; i < number; i++) {
		snprintf(path, sizeof(path), "old%ld", i);
		snprintf(target, sizeof(target), "new%ld", i);
		check(rename(path, target), path);
	}
}

static void replaced(long number, long of, int same)
{
	char path[256] = "temporary", target[256];

	for (long i = 0; i < number; i++) {
		snprintf(target, sizeof(target), "name%ld", i % of);
		if (!same)
			snprintf(path, sizeof(path), "name%ld.%ld", i % of, i);
		store(AT_FDCWD, path);
		check(rename(path, target), path);
	}
}

static void between(long number)
{
	for (long i = 0; i < number; i++) {
		store(AT_FDCWD, i % 2 ? "b" : "a");
		check(rename(i % 2 ? "b" : "a", i % 2 ? "a" : "b"), "rename");
	}
}

static void chain(long number)
{
	char path[256], target[256];

	for (long i = 0; i < number; i++) {
		snprintf(path, sizeof(path), "name%ld", i);
		snprintf(target, sizeof(target), "name%ld", i + 1);
		store(AT_FDCWD, path);
		check(rename(path, target), path);
	}
}

static void unlinked(long number)
{
	for (long i = 0; i < number; i++) {
		store(AT_FDCWD, "name");
		check(unlink("name"), "unlink");
	}
}

static void above(long number, long of, int beside)
{
	char path[256], target[256];

	check(mkdir("d", 0755) || mkdir("e0", 0755), "mkdir");
	make("d/%ld", number);
	store(AT_FDCWD, "e0/file");
	check(!beside && (rename("e0", "other") || rename("d", "e0")), "rename");
	for (long i = 0; i < of; i++) {
		snprintf(path, sizeof(path), "e%ld", i);
		snprintf(target, sizeof(target), "e%ld", i + 1);
		check(rename(path, target), path);
	}
}

static void deep(long number, long of)
{
	char path[256], target[256];
	int directory, inner;

	check(mkdir("0", 0755), "mkdir");
	directory = open("0", O_PATH | O_DIRECTORY);
	for (long i = 1; i < of; i++) {
		check(mkdirat(directory, "d", 0755), "mkdir");
		inner = openat(directory, "d", O_PATH | O_DIRECTORY);
		check(inner < 0, "open");
		close(directory);
		directory = inner;
	}
	for (long i = 0; i < number; i++) {
		snprintf(path, sizeof(path), "f%ld", i);
		store(directory, path);
		snprintf(path, sizeof(path), "%ld", i);
		snprintf(target, sizeof(target), "%ld", i + 1);
		check(rename(path, target), path);
	}
}

static void links(long number, long of)
{
	char path[256], target[256];

	check(mkdir("end", 0755) || mkdir("d", 0755), "mkdir");
	for (long i = 0; i < of; i++) {
		snprintf(path, sizeof(path), "link%ld", i);
		snprintf(target, sizeof(target), "link%ld", i - 1);
		check(symlink(i ? target : "end", path), path);
	}
	for (long i = 0; i < number; i++) {
		snprintf(path, sizeof(path), "d/%ld", i);
		snprintf(target, sizeof(target), "d/%ld.new", i);
		store(AT_FDCWD, path);
		check(rename(path, target), path);
	}
	snprintf(target, sizeof(target), "link%ld", of - 1);
	check(rename("d", "real") || symlink(target, "d"), "swap");
}

int main(int argc, char **argv)
{
	const char *load = argc == 5 ? argv[1] : "";
	long number = argc == 5 ? atol(argv[3]) : 0, of = argc == 5 ? atol(argv[4]) : 0, begun = now();

	if (argc == 5)
		check(chdir(argv[2]), argv[2]);
	if (!strcmp(load, "files"))
		files(number, of);
	else if (!strcmp(load, "renamed"))
		renamed(number);
	else if (!strcmp(load, "replaced"))
		replaced(number, of, 0);
	else if (!strcmp(load, "same"))
		replaced(number, of, 1);
	else if (!strcmp(load, "between"))
		between(number);
	else if (!strcmp(load, "chain"))
		chain(number);
	else if (!strcmp(load, "unlinked"))
		unlinked(number);
	else if (!strcmp(load, "above"))
		above(number, of, 0);
	else if (!strcmp(load, "beside"))
		above(number, of, 1);
	else if (!strcmp(load, "deep"))
		deep(number, of);
	else if (!strcmp(load, "links"))
		links(number, of);
	else
		return 2;
	printf("%ld %ld %ld\n", opens, begun, now());
	return 0;
}

/* Runs fuzz inputs without libFuzzer: each argument is a file or a folder of files; a path that does not exist counts
 * as an empty folder. Besides them it always runs the empty input. */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t run_file(const char *path)
{
	FILE *f = fopen(path, "rb");
	if (!f)
		return 0;
	uint8_t *data = malloc(1u << 20);
	if (!data)
		abort();
	size_t n = fread(data, 1, 1u << 20, f);
	fclose(f);
	/* An exact copy, so that a read past the end is seen by the sanitizer. */
	uint8_t *exact = realloc(data, n ? n : 1);
	LLVMFuzzerTestOneInput(exact, n);
	free(exact);
	return 1;
}

static size_t run_path(const char *path)
{
	DIR *d = opendir(path);
	if (!d)
		return run_file(path);
	size_t n = 0;
	for (struct dirent *e; (e = readdir(d));) {
		char file[4096];
		if (e->d_name[0] == '.' || snprintf(file, sizeof(file), "%s/%s", path, e->d_name) >= (int)sizeof(file))
			continue;
		n += run_file(file);
	}
	closedir(d);
	return n;
}

int main(int argc, char **argv)
{
	uint8_t *none = calloc(1, 1);
	LLVMFuzzerTestOneInput(none, 0);
	free(none);
	size_t n = 1;
	for (int i = 1; i < argc; i++)
		n += run_path(argv[i]);
	printf("%zu inputs\n", n);
	return 0;
}

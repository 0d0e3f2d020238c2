/*
 * Runs while lab is built: writes files as arrays of a C header.
 *
 * usage: embed OUT NAME=FILE...
 */
#include <stdio.h>
#include <string.h>

static int embed(FILE *out, const char *name, const char *path)
{
    FILE *in = fopen(path, "rb");
    int byte, column = 0;

    if (in == NULL) {
        perror(path);
        return 1;
    }
    fprintf(out, "static const unsigned char %s[] = {", name);
    while ((byte = getc(in)) != EOF)
        fprintf(out, "%s%d,", column++ % 20 == 0 ? "\n" : "", byte);
    fputs("\n};\n", out);
    return fclose(in);
}

int main(int argc, char **argv)
{
    FILE *out = argc > 1 ? fopen(argv[1], "w") : NULL;
    int r = 0;

    if (out == NULL) {
        fputs("usage: embed OUT NAME=FILE...\n", stderr);
        return 2;
    }
    for (int i = 2; i < argc && r == 0; i++) {
        char *path = strchr(argv[i], '=');
        if (path == NULL)
            r = 2;
        else
            *path++ = '\0';
        r = r != 0 ? r : embed(out, argv[i], path);
    }
    return fclose(out) != 0 || r != 0;
}

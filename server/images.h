/* A folder of pictures, read into memory once. */
#ifndef LAB_SERVER_IMAGES_H
#define LAB_SERVER_IMAGES_H

#include "core/error.h"
#include "proto/images.h"

struct image_folder {
    struct picture *list; /* sorted by name; all of it malloc'd */
    unsigned count;
};

/* Every file of the folder that can be read and is not empty, under its own name; hidden ones and
 * folders are left out. What else cannot be served is named in `left_out`, each with the reason, on
 * one line (NULL: nothing was); the caller frees it. -ENOENT and the like with a sentence;
 * -ENODATA: no picture in it. */
int image_folder_read(struct image_folder *folder, const char *path, char **left_out,
                      struct lab_error *err);
/* Whether that would find one; no file is read. */
int image_folder_check(const char *path, struct lab_error *err);
void image_folder_free(struct image_folder *folder);

#endif

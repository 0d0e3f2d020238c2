/* The default CPUs of the two sides. */
#ifndef LAB_RUN_PIN_H
#define LAB_RUN_PIN_H

#include <stddef.h>

/* As run_pin_choose() of run/run.h, of the CPUs given (ascending), whose topology is below
 * root ("" on a real host). */
int pin_choose_among(const unsigned *cpus, size_t count, const char *root, char *server,
                     size_t server_size, char *client, size_t client_size);

#endif

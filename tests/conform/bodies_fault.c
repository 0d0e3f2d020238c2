#include "tests/conform/conform.h"
const struct body bodies_fault[] = {{0}};

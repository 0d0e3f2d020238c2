/*
 * Makes the pictures of proto/pictures.h: draws hills under a sky, and encodes them as baseline
 * JPEG (ITU-T T.81). Runs on the machine that builds, with integers alone, so that a picture is
 * the same, byte for byte, whatever the compiler, the machine or the libraries.
 *
 *     pictures_make FOLDER      writes pictures.c, and image-0.jpg ... for other people's programs
 */
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WIDTH      1920
#define HEIGHT     1200
#define LAYERS     5
#define COMPONENTS 3
/* A comment makes a picture exactly as large as it is to be. More than this would be waste. */
#define PADDING_MAX 2000u

struct scene {
    const char *name;
    uint32_t seed;
    uint32_t size;    /* bytes of the file */
    int detail;       /* how rough the hills are: decides how well they compress */
    uint8_t sky[3];   /* Y, Cb, Cr at the top */
    uint8_t glow[3];  /* at the horizon */
    uint8_t hills[3]; /* of the farthest; nearer ones are darker */
    int sun_x, sun_y;
};

static const struct scene scenes[] = {
    {"image-0.jpg", 11, 273075, 147, {120, 150, 112}, {214, 118, 136}, {150, 134, 122}, 1380, 250},
    {"image-1.jpg", 29, 467749, 364, {96, 146, 120}, {190, 104, 158}, {128, 122, 138}, 520, 330},
    {"image-2.jpg", 47, 204552, 71, {140, 156, 108}, {228, 124, 130}, {160, 122, 118}, 960, 180},
};
#define SCENES (sizeof(scenes) / sizeof(scenes[0]))

/* --- drawing --- */

static uint32_t hash(uint32_t x, uint32_t y, uint32_t seed)
{
    uint32_t h = x * 0x9e3779b1u ^ y * 0x85ebca77u ^ seed * 0xc2b2ae3du;

    h = (h ^ h >> 15) * 0x2c1b3c6du;
    h = (h ^ h >> 12) * 0x297a2d39u;
    return h ^ h >> 15;
}

/* Value noise, -128 to 127: a random value at each corner of squares of 2^shift, smooth between. */
static int noise(uint32_t x, uint32_t y, unsigned shift, uint32_t seed)
{
    uint32_t column = x >> shift, row = y >> shift;
    int u = (int)((x - (column << shift)) << 8 >> shift);
    int v = (int)((y - (row << shift)) << 8 >> shift);
    int a = hash(column, row, seed) & 255, b = hash(column + 1, row, seed) & 255;
    int c = hash(column, row + 1, seed) & 255, d = hash(column + 1, row + 1, seed) & 255;

    u = u * u * (768 - 2 * u) >> 16;
    v = v * v * (768 - 2 * v) >> 16;
    a += (b - a) * u / 256;
    c += (d - c) * u / 256;
    return a + (c - a) * v / 256 - 128;
}

/* Octaves from squares of 2^coarse down to 2^fine, each keep / 256 of the strength before. */
static int fractal(uint32_t x, uint32_t y, unsigned coarse, unsigned fine, int keep, uint32_t seed)
{
    int sum = 0, weight = 256;

    for (unsigned shift = coarse + 1; shift-- > fine; weight = weight * keep / 256)
        sum += noise(x, y, shift, seed + shift) * weight / 256;
    return sum;
}

static uint8_t clamp(int value)
{
    return (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value);
}

static int between(int from, int to, int at, int range)
{
    return from + (to - from) * at / range;
}

/* The row at which the layer begins, at this column. */
static int skyline(const struct scene *scene, int layer, int x)
{
    int base = HEIGHT * (42 + 13 * layer) / 100;

    return base + fractal((uint32_t)x, 0, 9, 2, 128, scene->seed * 16 + (uint32_t)layer);
}

static void paint_sky(const struct scene *scene, int x, int y, int colour[3])
{
    int64_t dx = x - scene->sun_x, dy = y - scene->sun_y, distance = dx * dx + dy * dy;
    int reach = HEIGHT / 2;
    int light = distance < 60 * 60 ? 110 : (int)(110 * 60 * 60 / distance);
    int cloud = fractal((uint32_t)x / 2, (uint32_t)y, 8, 4, 128, scene->seed) - 20;

    for (int i = 0; i < 3; i++)
        colour[i] = between(scene->sky[i], scene->glow[i], y < reach ? y : reach, reach);
    colour[0] += light + (cloud > 0 ? cloud / 3 : 0);
    colour[1] -= light / 6;
    colour[2] += light / 12;
}

static void paint_hill(const struct scene *scene, int layer, int x, int y, int depth, int colour[3])
{
    uint32_t seed = scene->seed * 64 + (uint32_t)layer;
    int rough = fractal((uint32_t)x, (uint32_t)y, 5, 0, 230, seed);
    int shade = depth < 200 ? depth / 10 : 20;

    colour[0] = scene->hills[0] - 22 * layer + shade + rough * scene->detail * (layer + 2) / 4096;
    colour[1] = scene->hills[1] - 3 * layer + rough / 24;
    colour[2] = scene->hills[2] - layer - rough / 32;
}

struct planes {
    uint8_t luma[HEIGHT][WIDTH];
    uint8_t chroma[2][HEIGHT / 2][WIDTH / 2]; /* of every second pixel of every second row */
};

static void paint(const struct scene *scene, struct planes *planes)
{
    for (int x = 0; x < WIDTH; x++) {
        int skylines[LAYERS];

        for (int i = 0; i < LAYERS; i++)
            skylines[i] = skyline(scene, i, x);
        for (int y = 0; y < HEIGHT; y++) {
            int layer = LAYERS - 1, colour[3];

            while (layer >= 0 && y < skylines[layer])
                layer--;
            if (layer < 0)
                paint_sky(scene, x, y, colour);
            else
                paint_hill(scene, layer, x, y, y - skylines[layer], colour);
            planes->luma[y][x] = clamp(colour[0]);
            if (x % 2 == 0 && y % 2 == 0)
                for (int i = 0; i < 2; i++)
                    planes->chroma[i][y / 2][x / 2] = clamp(colour[1 + i]);
        }
    }
}

/* --- bytes and bits --- */

struct file {
    uint8_t *data;
    size_t size, room;
    uint32_t bits; /* the last so many of them were not written yet */
    unsigned held;
};

static void put(struct file *file, unsigned byte)
{
    if (file->size == file->room) {
        fprintf(stderr, "pictures_make: a picture is larger than it is to be\n");
        exit(1);
    }
    file->data[file->size++] = (uint8_t)byte;
}

static void put_two(struct file *file, unsigned value)
{
    put(file, value >> 8);
    put(file, value & 255);
}

static void put_bits(struct file *file, unsigned value, unsigned count)
{
    file->bits = file->bits << count | (value & ((1u << count) - 1));
    file->held += count;
    while (file->held >= 8) {
        unsigned byte = file->bits >> (file->held - 8) & 255;

        put(file, byte);
        if (byte == 0xff)
            put(file, 0); /* or it would look like a marker */
        file->held -= 8;
    }
}

static void put_comment(struct file *file, const char *text, unsigned size)
{
    size_t length = strlen(text);

    put_two(file, 0xfffe);
    put_two(file, size - 2);
    for (unsigned i = 0; i < size - 4; i++)
        put(file, i < length ? (unsigned char)text[i] : ' ');
}

/* --- tables, from the standard's annex K --- */

static const uint8_t zigzag[64] = {
    0,  1,  8,  16, 9,  2,  3,  10, 17, 24, 32, 25, 18, 11, 4,  5,  12, 19, 26, 33, 40, 48,
    41, 34, 27, 20, 13, 6,  7,  14, 21, 28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23,
    30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63,
};

static const uint8_t quant[64] = {
    16, 11, 10, 16, 24,  40,  51,  61,  12, 12, 14, 19, 26,  58,  60,  55,
    14, 13, 16, 24, 40,  57,  69,  56,  14, 17, 22, 29, 51,  87,  80,  62,
    18, 22, 37, 56, 68,  109, 103, 77,  24, 35, 55, 64, 81,  104, 113, 92,
    49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99,
};
/* The table is halved: what is called quality 75. */
#define QUANT(i) ((quant[i] + 1) / 2)

/* How many codes there are of 1 to 16 bits, then what they stand for. */
struct huffman {
    uint8_t counts[16];
    uint8_t values[162];
    unsigned size;
    uint16_t code[256];
    uint8_t bits[256];
};

static struct huffman dc_codes = {
    {0, 1, 5, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0},
    {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11},
    12,
    {0},
    {0},
};
static struct huffman ac_codes = {
    {0, 2, 1, 3, 3, 2, 4, 3, 5, 5, 4, 4, 0, 0, 1, 125},
    {0x01, 0x02, 0x03, 0x00, 0x04, 0x11, 0x05, 0x12, 0x21, 0x31, 0x41, 0x06, 0x13, 0x51, 0x61,
     0x07, 0x22, 0x71, 0x14, 0x32, 0x81, 0x91, 0xa1, 0x08, 0x23, 0x42, 0xb1, 0xc1, 0x15, 0x52,
     0xd1, 0xf0, 0x24, 0x33, 0x62, 0x72, 0x82, 0x09, 0x0a, 0x16, 0x17, 0x18, 0x19, 0x1a, 0x25,
     0x26, 0x27, 0x28, 0x29, 0x2a, 0x34, 0x35, 0x36, 0x37, 0x38, 0x39, 0x3a, 0x43, 0x44, 0x45,
     0x46, 0x47, 0x48, 0x49, 0x4a, 0x53, 0x54, 0x55, 0x56, 0x57, 0x58, 0x59, 0x5a, 0x63, 0x64,
     0x65, 0x66, 0x67, 0x68, 0x69, 0x6a, 0x73, 0x74, 0x75, 0x76, 0x77, 0x78, 0x79, 0x7a, 0x83,
     0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8a, 0x92, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99,
     0x9a, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7, 0xa8, 0xa9, 0xaa, 0xb2, 0xb3, 0xb4, 0xb5, 0xb6,
     0xb7, 0xb8, 0xb9, 0xba, 0xc2, 0xc3, 0xc4, 0xc5, 0xc6, 0xc7, 0xc8, 0xc9, 0xca, 0xd2, 0xd3,
     0xd4, 0xd5, 0xd6, 0xd7, 0xd8, 0xd9, 0xda, 0xe1, 0xe2, 0xe3, 0xe4, 0xe5, 0xe6, 0xe7, 0xe8,
     0xe9, 0xea, 0xf1, 0xf2, 0xf3, 0xf4, 0xf5, 0xf6, 0xf7, 0xf8, 0xf9, 0xfa},
    162,
    {0},
    {0},
};

static void number_codes(struct huffman *codes)
{
    unsigned code = 0, at = 0;

    for (unsigned length = 1; length <= 16; length++, code <<= 1)
        for (unsigned i = 0; i < codes->counts[length - 1]; i++, at++) {
            codes->code[codes->values[at]] = (uint16_t)code++;
            codes->bits[codes->values[at]] = (uint8_t)length;
        }
}

/* --- encoding --- */

/* cos(k * pi / 16) * 2^13 */
static const int cosine[32] = {
    8192,  8035,  7568,  6811,  5793,  4551,  3135,  1598,  0,     -1598, -3135,
    -4551, -5793, -6811, -7568, -8035, -8192, -8035, -7568, -6811, -5793, -4551,
    -3135, -1598, 0,     1598,  3135,  4551,  5793,  6811,  7568,  8035,
};

/* The transform's matrix, times 2^13; its first row by sqrt(1/2). */
static int basis(unsigned frequency, unsigned position)
{
    return frequency == 0 ? 5793 : cosine[frequency * (2 * position + 1) % 32];
}

/* The discrete cosine transform of 8x8 samples, quantised, in zigzag order. */
static void transform(const uint8_t *samples, size_t stride, int out[64])
{
    int rows[8][8];

    for (unsigned y = 0; y < 8; y++)
        for (unsigned u = 0; u < 8; u++) {
            int sum = 0;

            for (unsigned x = 0; x < 8; x++)
                sum += (samples[y * stride + x] - 128) * basis(u, x);
            rows[y][u] = sum / 512;
        }
    for (unsigned i = 0; i < 64; i++) {
        unsigned u = zigzag[i] % 8, v = zigzag[i] / 8;
        int sum = 0, step = QUANT(zigzag[i]) << 19;

        for (unsigned y = 0; y < 8; y++)
            sum += rows[y][u] * basis(v, y);
        out[i] = (sum + (sum < 0 ? -step : step) / 2) / step;
    }
}

/* A number as JPEG writes it: how many bits it has, and these; one less when it is negative. */
static unsigned category(int value)
{
    unsigned bits = 0;

    for (unsigned size = (unsigned)abs(value); size > 0; size >>= 1)
        bits++;
    return bits;
}

static void encode_symbol(struct file *file, const struct huffman *codes, unsigned symbol,
                          int value)
{
    put_bits(file, codes->code[symbol], codes->bits[symbol]);
    if (symbol % 16 != 0)
        put_bits(file, (unsigned)(value < 0 ? value - 1 : value), symbol % 16);
}

static void encode_block(struct file *file, const int block[64], int *dc)
{
    unsigned zeros = 0;

    encode_symbol(file, &dc_codes, category(block[0] - *dc), block[0] - *dc);
    *dc = block[0];
    for (unsigned i = 1; i < 64; i++) {
        if (block[i] == 0) {
            zeros++;
            continue;
        }
        for (; zeros >= 16; zeros -= 16)
            encode_symbol(file, &ac_codes, 0xf0, 0);
        encode_symbol(file, &ac_codes, zeros << 4 | category(block[i]), block[i]);
        zeros = 0;
    }
    if (zeros > 0)
        encode_symbol(file, &ac_codes, 0, 0);
}

/* Units of 16x16 pixels: four blocks of luma, one of either chroma. */
static void encode_scan(struct file *file, const struct planes *planes)
{
    int block[64], dc[COMPONENTS] = {0};

    for (unsigned y = 0; y < HEIGHT; y += 16)
        for (unsigned x = 0; x < WIDTH; x += 16) {
            for (unsigned i = 0; i < 4; i++) {
                transform(&planes->luma[y + i / 2 * 8][x + i % 2 * 8], WIDTH, block);
                encode_block(file, block, &dc[0]);
            }
            for (unsigned i = 0; i < 2; i++) {
                transform(&planes->chroma[i][y / 2][x / 2], WIDTH / 2, block);
                encode_block(file, block, &dc[1 + i]);
            }
        }
    put_bits(file, 0x7f, 7); /* the last byte is filled with ones */
}

static void put_huffman(struct file *file, const struct huffman *codes, unsigned id)
{
    put_two(file, 0xffc4);
    put_two(file, 2 + 1 + 16 + codes->size);
    put(file, id);
    for (unsigned i = 0; i < 16; i++)
        put(file, codes->counts[i]);
    for (unsigned i = 0; i < codes->size; i++)
        put(file, codes->values[i]);
}

/* All before the scan: one quantisation table, one pair of Huffman tables for all components. */
static void put_head(struct file *file)
{
    static const uint8_t jfif[] = {'J', 'F', 'I', 'F', 0, 1, 1, 0, 0, 1, 0, 1, 0, 0};

    put_two(file, 0xffe0);
    put_two(file, 2 + sizeof(jfif));
    for (unsigned i = 0; i < sizeof(jfif); i++)
        put(file, jfif[i]);
    put_two(file, 0xffdb);
    put_two(file, 2 + 1 + 64);
    put(file, 0);
    for (unsigned i = 0; i < 64; i++)
        put(file, QUANT(zigzag[i]));
    put_two(file, 0xffc0);
    put_two(file, 8 + 3 * COMPONENTS);
    put(file, 8); /* bits a sample */
    put_two(file, HEIGHT);
    put_two(file, WIDTH);
    put(file, COMPONENTS);
    for (unsigned i = 0; i < COMPONENTS; i++) {
        put(file, i + 1);
        put(file, i == 0 ? 0x22 : 0x11); /* luma has twice the samples, both ways */
        put(file, 0);
    }
    put_huffman(file, &dc_codes, 0x00);
    put_huffman(file, &ac_codes, 0x10);
    put_two(file, 0xffda);
    put_two(file, 6 + 2 * COMPONENTS);
    put(file, COMPONENTS);
    for (unsigned i = 0; i < COMPONENTS; i++)
        put_two(file, (i + 1) << 8);
    put(file, 0);
    put(file, 63);
    put(file, 0);
}

/* The picture in data, exactly as large as it is to be. */
static void make(const struct scene *scene, struct planes *planes, uint8_t *data)
{
    static uint8_t scan[1 << 20];
    struct file body = {.data = scan, .room = scene->size}, file = {data, 0, scene->size, 0, 0};
    uint32_t padding;

    paint(scene, planes);
    put_head(&body);
    encode_scan(&body, planes);
    padding = scene->size - (uint32_t)body.size - 4; /* what begins and ends a file */
    if (body.size + 4 > scene->size || padding < 64 || padding > PADDING_MAX) {
        fprintf(stderr, "pictures_make: %s has %zu of %u bytes: change its detail\n", scene->name,
                body.size, scene->size);
        exit(1);
    }
    put_two(&file, 0xffd8);
    put_comment(&file, "Drawn by lab's pictures_make.", padding);
    memcpy(data + file.size, scan, body.size);
    file.size += body.size;
    put_two(&file, 0xffd9);
}

/* --- what is written --- */

static FILE *create(const char *folder, const char *name)
{
    char path[4096];
    FILE *file;

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    file = fopen(path, "wb");
    if (file == NULL) {
        fprintf(stderr, "pictures_make: cannot write %s: %s\n", path, strerror(errno));
        exit(1);
    }
    return file;
}

static void finish(FILE *file)
{
    bool failed = ferror(file);

    if (fclose(file) != 0 || failed) {
        fprintf(stderr, "pictures_make: cannot write: %s\n", strerror(errno));
        exit(1);
    }
}

int main(int argc, char **argv)
{
    static struct planes planes;
    static uint8_t data[1 << 20];
    FILE *source;

    if (argc != 2) {
        fprintf(stderr, "usage: pictures_make FOLDER\n");
        return 2;
    }
    number_codes(&dc_codes);
    number_codes(&ac_codes);
    source = create(argv[1], "pictures.c");
    fprintf(source, "/* Made by pictures_make. */\n#include \"proto/pictures.h\"\n");
    for (unsigned i = 0; i < SCENES; i++) {
        FILE *picture = create(argv[1], scenes[i].name);

        make(&scenes[i], &planes, data);
        fwrite(data, 1, scenes[i].size, picture);
        finish(picture);
        fprintf(source, "\n_Alignas(64) static const uint8_t picture_%u[] = {", i);
        for (uint32_t at = 0; at < scenes[i].size; at++)
            fprintf(source, "%s%u,", at % 24 == 0 ? "\n" : "", data[at]);
        fprintf(source, "\n};\n");
    }
    fprintf(source, "\nconst struct picture pictures[] = {\n");
    for (unsigned i = 0; i < SCENES; i++)
        fprintf(source, "    {\"%s\", \"jpg\", picture_%u, %u},\n", scenes[i].name, i,
                scenes[i].size);
    fprintf(source, "};\nconst unsigned pictures_count = %u;\n", (unsigned)SCENES);
    finish(source);
    return 0;
}

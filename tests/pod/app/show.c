/* An application: prints the file that it is given, again whenever it has changed. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv) {
  static char was[8192], is[8192];
  if (argc < 2) return 2;
  for (;;) {
    int file = open(argv[1], O_RDONLY);
    ssize_t length = file < 0 ? -1 : read(file, is, sizeof is - 1);
    if (file >= 0) close(file);
    if (length >= 0) {
      is[length] = 0;
      if (strcmp(was, is)) {
        printf("%s\n", is);
        fflush(stdout);
        strcpy(was, is);
      }
    }
    usleep(100000);
  }
}

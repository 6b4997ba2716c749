package access

import (
	"context"
	"io"

	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// PlainBodies lets net/http copy a request's body by Read alone. The SDK closes the
// body as soon as the answer has begun; net/http may not have noticed yet that the body
// was sent whole, and asks it for more. A closed body that can write itself
// (smithy-go, transport/http/internal/io, WriteTo) then fails with io.EOF, which io.WriterTo
// must not, and net/http takes the connection down under the answer: of a change that
// AWS has made, nothing would be known ("use of closed network connection").
func PlainBodies(stack *middleware.Stack) error {
	return stack.Finalize.Add(middleware.FinalizeMiddlewareFunc("PlainBodies",
		func(ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler) (middleware.FinalizeOutput, middleware.Metadata, error) {
			if request, ok := in.Request.(*smithyhttp.Request); ok {
				plain, err := request.SetStream(onlyRead(request.GetStream()))
				if err != nil {
					return middleware.FinalizeOutput{}, middleware.Metadata{}, err
				}
				in.Request = plain
			}
			return next.HandleFinalize(ctx, in)
		}), middleware.After)
}

// onlyRead hides that a stream can write itself.
func onlyRead(stream io.Reader) io.Reader {
	if _, ok := stream.(io.WriterTo); !ok {
		return stream
	}
	if s, ok := stream.(io.ReadSeeker); ok {
		return struct{ io.ReadSeeker }{s}
	}
	return struct{ io.Reader }{stream}
}

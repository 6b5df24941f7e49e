package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	runtimeapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

// maxMessage is the runtimes' limit of one gRPC message.
const maxMessage = 16 << 20

// Server is the proxy between two gRPC endpoints.
type Server struct {
	srv *grpc.Server
	up  *grpc.ClientConn
}

// Serve accepts agents at l and forwards to the runtime that dial reaches (remote.SocketPath and a unix dialer make one
// for an endpoint). It forwards every method of CRI v1, also those that the agent's port does not have.
func (p *Proxy) Serve(l net.Listener, dial func(context.Context) (net.Conn, error)) (*Server, error) {
	bo := backoff.DefaultConfig
	bo.BaseDelay, bo.MaxDelay = 20*time.Millisecond, 200*time.Millisecond
	up, err := grpc.NewClient("passthrough:///runtime",
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return dial(ctx) }),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage)),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: bo, MinConnectTimeout: time.Second}),
		grpc.WithIdleTimeout(0),
	)
	if err != nil {
		return nil, fmt.Errorf("proxy: %w", err)
	}
	s := &Server{up: up, srv: grpc.NewServer(
		grpc.MaxRecvMsgSize(maxMessage), grpc.MaxSendMsgSize(maxMessage),
		grpc.UnaryInterceptor(p.unary(up)), grpc.StreamInterceptor(p.stream(up)),
	)}
	// The interceptors answer every call; the services only make the methods known.
	runtimeapi.RegisterRuntimeServiceServer(s.srv, &runtimeapi.UnimplementedRuntimeServiceServer{})
	runtimeapi.RegisterImageServiceServer(s.srv, &runtimeapi.UnimplementedImageServiceServer{})
	go s.srv.Serve(l)
	return s, nil
}

// Stop drops all connections. Calls in flight end with class unknown on both sides.
func (s *Server) Stop() {
	s.srv.Stop()
	s.up.Close()
}

func opOf(method string) string { return method[strings.LastIndexByte(method, '/')+1:] }

// answer makes an empty message of the type that a method returns.
func answer(method string) (proto.Message, error) {
	svc, op, _ := strings.Cut(strings.TrimPrefix(method, "/"), "/")
	d, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(svc))
	if err != nil {
		return nil, err
	}
	sd, ok := d.(protoreflect.ServiceDescriptor)
	if !ok || sd.Methods().ByName(protoreflect.Name(op)) == nil {
		return nil, fmt.Errorf("no method %s", method)
	}
	t, err := protoregistry.GlobalTypes.FindMessageByName(sd.Methods().ByName(protoreflect.Name(op)).Output().FullName())
	if err != nil {
		return nil, err
	}
	return t.New().Interface(), nil
}

func (p *Proxy) unary(up *grpc.ClientConn) grpc.UnaryServerInterceptor {
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, _ grpc.UnaryHandler) (any, error) {
		res, err := answer(info.FullMethod)
		if err != nil {
			return nil, status.Error(codes.Unimplemented, err.Error())
		}
		c, began := callOf(opOf(info.FullMethod), req), time.Now()
		err = p.do(ctx, c, func(ctx context.Context) error {
			err := up.Invoke(ctx, info.FullMethod, req, res)
			if err == nil {
				p.learnMade(c, res)
			}
			return err
		})
		p.learnShown(c, req, res, err, began)
		if err != nil {
			return nil, err
		}
		return res, nil
	}
}

func (p *Proxy) stream(up *grpc.ClientConn) grpc.StreamServerInterceptor {
	return func(_ any, down grpc.ServerStream, info *grpc.StreamServerInfo, _ grpc.StreamHandler) error {
		req := &runtimeapi.GetEventsRequest{} // all requests of streams have but optional fields; unknown ones are kept
		if err := down.RecvMsg(req); err != nil {
			return err
		}
		return p.do(down.Context(), Call{Op: opOf(info.FullMethod)}, func(ctx context.Context) error {
			in, err := up.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, info.FullMethod)
			if err != nil {
				return err
			}
			if err := in.SendMsg(req); err != nil {
				return err
			}
			if err := in.CloseSend(); err != nil {
				return err
			}
			for {
				res, err := answer(info.FullMethod)
				if err != nil {
					return status.Error(codes.Unimplemented, err.Error())
				}
				if err := in.RecvMsg(res); err != nil {
					if errors.Is(err, io.EOF) {
						return nil
					}
					return err
				}
				if err := down.SendMsg(res); err != nil {
					return err
				}
			}
		})
	}
}
